"""The worker: runs apps in a sandbox, votes on their results, and is paid for it."""
