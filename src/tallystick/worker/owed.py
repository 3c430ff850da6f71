"""What a scheduler has to be told, until it has acknowledged each of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tallystick.engine.journal import Entry, Journal
from tallystick.lifecycle.facts import Fact

TOLD = "told the scheduler up to"


@dataclass(slots=True)
class Owed:
    """The facts of a journal past what was acknowledged, in their order."""

    journal: Journal[Fact]
    left: list[Entry[Fact]] = field(default_factory=list[Entry[Fact]])
    """Those that were read and not acknowledged."""
    _read: int = -1
    """Up to where the journal was read; -1: not yet."""

    async def tell(self, one: Callable[[Entry[Fact]], Awaitable[bool]]) -> None:
        """Tell `one` after the other; it says whether the scheduler has it now, or never will.

        A message that is lost costs that one: what was told before it is not told again, or a
        long story would never come to its end over a bad line.
        """
        if self._read < 0:
            self._read = int(self.journal.noted(TOLD) or 0)
        fresh = list(self.journal.read(self._read))
        self.left += fresh
        self._read = max([self._read, *(entry.seq for entry in fresh)])
        try:
            for entry in list(self.left):
                if await one(entry):
                    self.left.remove(entry)
        finally:
            settled = min([self._read, *(entry.seq - 1 for entry in self.left)])
            if str(settled) != self.journal.noted(TOLD):
                self.journal.note(TOLD, str(settled))
