"""How long a report about what is over is told again to a scheduler that cannot place it."""

from __future__ import annotations

import time
from typing import Final

GRACE: Final = 30.0
"""Seconds. Its node may be some blocks behind ours; what it never knew, after it was restored
from a backup, it will never place."""


class Grace:
    """Since when each report was too early, by its number in the journal."""

    def __init__(self) -> None:
        self._since: dict[int, float] = {}

    def is_over(self, seq: int) -> bool:
        """Whether report `seq`, which was refused just now, need not be told again."""
        now = time.monotonic()
        if now - self._since.setdefault(seq, now) < GRACE:
            return False
        del self._since[seq]
        return True
