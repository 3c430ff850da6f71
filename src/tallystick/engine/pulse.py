"""Waking everybody who waits for something to change."""

from __future__ import annotations

from collections.abc import Callable

import anyio


class Pulse:
    """Wakes whoever waits for the next change; nobody polls for what this can tell."""

    def __init__(self, closing: Callable[[], object] | None = None) -> None:
        """`closing` lets go whoever waits elsewhere for what belongs to this."""
        self._closing = closing
        self._event: anyio.Event | None = None
        self.closed = False
        """Nothing will change any more: nobody should wait."""
        self.count = 0
        """How often something changed. Pass it to `next`, so that no change is missed."""

    def beat(self) -> None:
        """Something changed."""
        self.count += 1
        if self._event is not None:
            self._event.set()
            self._event = None

    def close(self) -> None:
        """Let everybody go who waits, now and from now on."""
        self.closed = True
        self.beat()
        if self._closing is not None:
            self._closing()

    async def next(self, count: int, patience: float = float("inf")) -> int:
        """Wait for a change after the `count` that was seen, at most `patience` seconds."""
        with anyio.move_on_after(max(0.0, patience)):
            while self.count == count and not self.closed:
                if self._event is None:
                    self._event = anyio.Event()
                await self._event.wait()
        return self.count
