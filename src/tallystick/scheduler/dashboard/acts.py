"""What operators did at the pool's pages: noted, so that everybody sees that it was done."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from tallystick.engine.journal import Journal

_ACT: Final = "act "
_MOST: Final = 200
"""Acts that are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One thing that an operator did."""

    at: float
    """Seconds since the epoch."""
    by: str
    """The operator's wallet."""
    what: str
    """In words, to be followed by the worker if there is one."""
    worker: str = ""
    why: str = ""
    """For the operators alone."""


@dataclass(frozen=True, slots=True)
class Acts:
    """The book of one pool."""

    journal: Journal[Any]
    clock: Callable[[], float] = time.time

    def note(self, *, by: str, what: str, worker: str = "", why: str = "") -> Act:
        """Write one down; the oldest are forgotten. Raises Unavailable."""
        act = Act(at=self.clock(), by=by, what=what, worker=worker, why=why)
        self.journal.note(f"{_ACT}{act.at:017.6f}", json.dumps(asdict(act)))
        for key in sorted(self.journal.notes(_ACT))[:-_MOST]:
            self.journal.forget(key)
        return act

    def newest(self) -> list[Act]:
        """Every act that is kept, the newest first."""
        kept = [Act(**json.loads(text)) for text in self.journal.notes(_ACT).values()]
        return sorted(kept, key=lambda act: -act.at)
