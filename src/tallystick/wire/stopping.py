"""How a program that runs for ever is told to end."""

from __future__ import annotations

import signal

import anyio


async def until_stopped() -> None:
    """Return when the process is told to stop (SIGTERM or SIGINT)."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            return
