"""What tasks and workers have come to, added up as it changes: nobody walks through all tasks.

A task that changed is counted anew when somebody looks: what it counted for before is taken
back first, so a reorg that undoes an end undoes what it counted too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from anyio.lowlevel import checkpoint

from tallystick.lifecycle.facts import Lost
from tallystick.lifecycle.replicate import Replicate, Status
from tallystick.lifecycle.stages import task_status

if TYPE_CHECKING:
    from tallystick.lifecycle.task import Task
    from tallystick.scheduler.money import TaskMoney
    from tallystick.scheduler.money_book import MoneyBook
    from tallystick.scheduler.pool import Pool

_STRIDE: Final = 200
"""Tasks between two looks whether somebody else has something to do."""


class Outcome(StrEnum):
    """What came of one replicate."""

    RUNNING = "running"
    COMPLETED = "completed"
    OUTVOTED = "outvoted"
    """It voted, and another result won."""
    REJECTED = "rejected"
    """Its vote was voided."""
    ABORTED = "aborted"
    """Dropped because it was not needed any more, or could not be in time."""
    FAILED = "failed"
    LOST = "lost"
    """Its worker was not heard any more."""
    UNUSED = "unused"
    """Its task ended without it."""


BAD: Final = (Outcome.OUTVOTED, Outcome.REJECTED, Outcome.FAILED, Outcome.LOST)
"""What counts against a worker."""
_OVER: Final[Mapping[Status, Outcome]] = {
    Status.COMPLETED: Outcome.COMPLETED,
    Status.REJECTED: Outcome.REJECTED,
    Status.ABORTED: Outcome.ABORTED,
    Status.FAILED: Outcome.FAILED,
}


def outcome(replicate: Replicate, task: Task) -> Outcome:
    """What came of a replicate of `task`."""
    if (found := _OVER.get(replicate.status)) is not None:
        return found
    if isinstance(replicate.away, Lost):
        return Outcome.LOST
    if not task.status.over:
        return Outcome.RUNNING
    voted = replicate.vote is not None and replicate.vote != task.consensus
    return Outcome.OUTVOTED if voted else Outcome.UNUSED


@dataclass(slots=True)
class Record:
    """What one worker has done for this pool."""

    outcomes: Counter[Outcome] = field(default_factory=Counter[Outcome])
    causes: Counter[str] = field(default_factory=Counter[str])
    """Why replicates of its did not succeed."""
    votes: int = 0
    paid: int = 0
    """nRLC."""
    forfeited: int = 0
    """nRLC of its stake that it lost."""
    tasks: dict[str, None] = field(default_factory=dict[str, None])
    """Those of which it has or had a replicate, in the order they were given away."""

    @property
    def rate(self) -> float | None:
        """The share that succeeded of what was decided; None while nothing was."""
        good = self.outcomes[Outcome.COMPLETED]
        decided = good + sum(self.outcomes[bad] for bad in BAD)
        return good / decided if decided else None


@dataclass(frozen=True, slots=True)
class _Share:
    worker: str
    outcome: Outcome
    cause: str
    voted: bool


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one task counts for."""

    status: str
    shares: tuple[_Share, ...]
    money: TaskMoney | None


@dataclass(slots=True)
class Board:
    """One pool's."""

    pool: Pool
    book: MoneyBook | None = None
    statuses: Counter[str] = field(default_factory=Counter[str])
    """Tasks by status, in the words of the v9 peers."""
    records: dict[str, Record] = field(default_factory=dict[str, Record])
    paid: int = 0
    """nRLC that workers got."""
    kept: int = 0
    """nRLC that the scheduler got."""
    gas: int = 0
    """wei that the scheduler paid for the tasks that ended."""
    settled: int = 0
    """Tasks whose end was asked of the chain."""
    _seen: dict[str, _Seen] = field(default_factory=dict[str, _Seen])
    _due: dict[str, None] = field(default_factory=dict[str, None])

    def __post_init__(self) -> None:
        self._due = dict.fromkeys(self.pool.engine.states)
        self.pool.engine.watch(self.changed)

    def know(self, book: MoneyBook) -> None:
        """Count money too, as the book tells of it."""
        self.book = book
        self._due.update(dict.fromkeys(self.pool.engine.states))
        book.watch(self.changed)

    def changed(self, stream: str) -> None:
        """A task is another one, or something else is known of it."""
        self._due[stream] = None

    async def refresh(self) -> None:
        """Count what changed. Workers are answered meanwhile."""
        number = 0
        while self._due:
            self._count(next(iter(self._due)))
            number += 1
            if number % _STRIDE == 0:
                await checkpoint()

    def record(self, worker: str) -> Record:
        """What a worker has done here; nothing, for one that was never given anything."""
        return self.records.get(worker) or Record()

    def _count(self, stream: str) -> None:
        del self._due[stream]
        task = self.pool.engine.states.get(stream)
        before, after = self._seen.pop(stream, None), None
        if task is not None:
            money = self.book.of(stream) if self.book else None
            after = self._seen[stream] = _Seen(task_status(task), tuple(_shares(task)), money)
        if before == after:
            return
        if before is not None:
            self._add(stream, before, -1)
        if after is not None:
            self._add(stream, after, 1)

    def _add(self, stream: str, seen: _Seen, sign: int) -> None:
        self.statuses[seen.status] += sign
        for share in seen.shares:
            record = self.records.setdefault(share.worker, Record())
            record.outcomes[share.outcome] += sign
            record.votes += sign * share.voted
            if share.cause:
                record.causes[share.cause] += sign
            if sign > 0:
                record.tasks.setdefault(stream)
        if seen.money is not None:
            self._add_money(seen.money, sign)

    def _add_money(self, money: TaskMoney, sign: int) -> None:
        self.settled += sign
        self.kept += sign * money.reward
        self.gas += sign * money.gas
        for worker, amount in (money.paid or {}).items():
            self.paid += sign * amount
            self.records.setdefault(worker, Record()).paid += sign * amount
        for worker, amount in (money.forfeited or {}).items():
            self.records.setdefault(worker, Record()).forfeited += sign * amount


def _shares(task: Task) -> Iterator[_Share]:
    for replicate in task.replicates.values():
        came = outcome(replicate, task)
        cause = replicate.cause or ("WORKER_LOST" if came is Outcome.LOST else "")
        yield _Share(
            str(replicate.worker),
            came,
            cause if came not in (Outcome.RUNNING, Outcome.COMPLETED) else "",
            replicate.vote is not None,
        )
