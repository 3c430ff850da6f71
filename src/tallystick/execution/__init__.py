"""Running an app's container: one seam, `Executor`, and one implementation a runtime."""
