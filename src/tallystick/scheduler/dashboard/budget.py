"""How much of a scheduler's time its pages may take: workers come first."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio


@dataclass(slots=True)
class Budget:
    """Seconds of processor time that fill up as time passes, and are spent by making pages."""

    share: float = 0.25
    """Of each second."""
    most: float = 1.5
    """Seconds that may be spent at once, after a rest."""
    clock: Callable[[], float] = time.monotonic
    _left: float = 0.0
    _at: float = float("-inf")
    _one: anyio.Lock = field(default_factory=anyio.Lock)

    def missing(self) -> float:
        """Seconds until something is left; 0 when there is."""
        now = self.clock()
        self._left = min(self.most, self._left + (now - self._at) * self.share)
        self._at = now
        return max(0.0, -self._left / self.share)

    def spend(self, seconds: float) -> None:
        """So much was used; there may be less than nothing left."""
        self.missing()
        self._left -= seconds

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """The right to work, one after the other, once something is left; what the block used
        of the processor is spent."""
        async with self._one:
            if (seconds := self.missing()) > 0:
                await anyio.sleep(seconds)
            began = time.thread_time()
            try:
                yield
            finally:
                self.spend(time.thread_time() - began)
