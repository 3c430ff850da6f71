"""No new work while the journal cannot be written: a vote that is not remembered is lost."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from tallystick.engine.errors import DiskTrouble
from tallystick.engine.journal import Journal
from tallystick.worker.reason import Reason

_TRIAL = "can be written"


class JournalGate:
    """Closed from a write that failed until one succeeds. Tries by itself."""

    def __init__(self, journal: Journal[Any]) -> None:
        self._journal = journal

    def closed(self) -> Reason | None:
        """Why no work may be asked for."""
        if self._journal.trouble is not None:
            with suppress(DiskTrouble):
                self._journal.note(_TRIAL, "yes")
        if (trouble := self._journal.trouble) is None:
            return None
        return Reason(
            "JOURNAL_UNWRITABLE", f"{trouble} Make room; work goes on by itself then."
        )
