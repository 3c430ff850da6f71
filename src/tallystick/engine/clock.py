"""The chain's time, which the deadlines of the protocol are measured by."""

from __future__ import annotations

import time
from collections.abc import Callable

from tallystick.poco.values import Instant


class ChainClock:
    """The chain's time: the newest block's, and what has passed here since we saw it.

    Between blocks the chain has no time of its own, but its next block will not be older than
    that. It never runs backwards, except to follow a reorg.
    """

    def __init__(self, elapsed: Callable[[], float] = time.monotonic) -> None:
        self._elapsed = elapsed
        self._head: Instant = 0
        self._seen = elapsed()
        self.count = 0
        """How often a newest block was told: what was read at another count may be old."""
        self.waits = False
        """Whether what happened before our start is still read."""

    def saw(self, head: Instant) -> None:
        """A block of that timestamp is the newest."""
        self._head, self._seen = head, self._elapsed()
        self.count += 1

    @property
    def known(self) -> bool:
        """Whether anything can be decided by it: a block was seen, and what led to it read."""
        return self._head > 0 and not self.waits

    @property
    def age(self) -> float:
        """Seconds since a block was last seen."""
        return self._elapsed() - self._seen

    def now(self) -> Instant:
        """Seconds since the epoch, by the chain."""
        return self._head + int(self.age) if self.known else 0
