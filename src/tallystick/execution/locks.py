"""Locks between the workers of one machine, let go by the kernel when a process dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

_LOOK_EVERY = 0.1
"""Seconds between two tries to get a lock that another process has."""


@asynccontextmanager
async def alone(lock: Path) -> AsyncIterator[None]:
    """Of all processes of this machine, the only one in there. `lock` is a file of its own."""
    fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        await _take(fd)
        yield
    finally:
        os.close(fd)


async def _take(fd: int) -> None:
    """Not by a thread that waits: nothing could cancel it."""
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            await anyio.sleep(_LOOK_EVERY)
        else:
            return
