"""The only motor: keeps the world in step with the agenda, and survives a crash."""
