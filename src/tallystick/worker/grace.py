"""How long a report about what is over is told again to a scheduler that cannot place it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from tallystick.engine.journal import Entry

_Report: TypeAlias = "Entry[Any]"

GRACE: Final = 30.0
"""Seconds. Its node may be some blocks behind ours; what it never knew, after it was restored
from a backup, it will never place."""


class Grace:
    """Since when each report was too early, by its number in the journal."""

    def __init__(self) -> None:
        self._since: dict[int, float] = {}

    def __len__(self) -> int:
        """Reports that are remembered."""
        return len(self._since)

    def is_over(self, seq: int) -> bool:
        """Whether report `seq`, which was refused just now, need not be told again."""
        now = time.monotonic()
        return now - self._since.setdefault(seq, now) >= GRACE

    def only(self, early: list[_Report]) -> list[_Report]:
        """Those that are still too early; the others are forgotten."""
        wanted = {report.seq for report in early}
        self._since = {seq: at for seq, at in self._since.items() if seq in wanted}
        return early
