"""How often a page that is open looks again: when something happened, and now and then."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

import anyio

from tallystick.engine.pulse import Pulse

_BEAT: Final = 5.0
"""Seconds. Workers that fall silent, and blocks, tell nobody."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The changes of a pool, and every few seconds that pass, for `web.live.Stream`."""

    changes: Pulse

    @property
    def count(self) -> int:
        """Another number whenever a page may be another one."""
        return self.changes.count + int(time.monotonic() / _BEAT)

    @property
    def closed(self) -> bool:
        """Nothing will change any more."""
        return self.changes.closed

    async def next(self, count: int, patience: float = float("inf")) -> int:
        """Wait for another count than this, at most `patience` seconds."""
        ends = anyio.current_time() + patience
        while self.count == count and not self.closed:
            left = ends - anyio.current_time()
            if left <= 0:
                break
            await self.changes.next(self.changes.count, min(left, _BEAT / 5))
        return self.count
