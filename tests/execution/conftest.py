"""The fixtures of the sandboxes: see sandbox_lab.py."""

from sandbox_lab import anyio_backend, docker_host, executor, job, plain, shop

__all__ = ["anyio_backend", "docker_host", "executor", "job", "plain", "shop"]
