"""What a scheduler has to be told, until it has acknowledged each of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from tallystick.engine.journal import Entry, Journal
from tallystick.lifecycle.facts import Fact

TOLD = "told the scheduler up to"
MET = "last heard of the scheduler called"


@dataclass(slots=True)
class Owed:
    """The facts of a journal past what was acknowledged, in their order."""

    journal: Journal[Fact]
    left: list[Entry[Fact]] = field(default_factory=list[Entry[Fact]])
    """Those that were read and not acknowledged."""
    _read: int = -1
    """Up to where the journal was read; -1: not yet."""
    _begins: int = 0
    """The entry at which the last round was broken off."""

    async def tell(self, one: Callable[[Entry[Fact]], Awaitable[bool]]) -> None:
        """Tell `one` after the other; it says whether the scheduler has it now, or never will.

        A message that is lost costs that one: the next round begins with it. Else a long story
        would never come to its end over a bad line, nor would one whose beginning a new
        scheduler cannot place any more.
        """
        self._look()
        try:
            for entry in [each for each in self.left if each.seq >= self._begins]:
                self._begins = entry.seq
                if await one(entry):
                    self.left.remove(entry)
            self._begins = 0
        finally:
            self._settle()

    def meet(self, scheduler: str, open_tasks: Iterable[str]) -> bool:
        """Whether another process than before is the scheduler now. It may be one that was set
        back, or a new one that knows nothing of us: all about `open_tasks` is told again."""
        if scheduler == (met := self.journal.noted(MET)):
            return False
        if met is not None:
            self._look()
            again = [e for stream in open_tasks for e in self.journal.read(stream=stream)]
            known = {entry.seq for entry in self.left}
            self.left += [e for e in again if e.seq <= self._read and e.seq not in known]
            self.left.sort(key=lambda entry: entry.seq)
            self._begins = 0
            self._settle()
        self.journal.note(MET, scheduler)
        return met is not None

    def _look(self) -> None:
        if self._read < 0:
            self._read = int(self.journal.noted(TOLD) or 0)
        fresh = list(self.journal.read(self._read))
        self.left += fresh
        self._read = max([self._read, *(entry.seq for entry in fresh)])

    def _settle(self) -> None:
        settled = min([self._read, *(entry.seq - 1 for entry in self.left)])
        if str(settled) != self.journal.noted(TOLD):
            self.journal.note(TOLD, str(settled))
