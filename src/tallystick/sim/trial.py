"""One task of a pool that audits, decided by the lifecycle that is shipped, without its time.

What the simulated cheats are up against is `lifecycle.audit` and `scheduler.audits`
themselves: a rule of theirs that changes, changes the figures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

from tallystick.engine.journal import Entry
from tallystick.lifecycle import facts as f
from tallystick.lifecycle.audit import (
    Conclude,
    owed_audits,
    wants_opinion,
    withholds,
)
from tallystick.lifecycle.task import Task, advance, fold
from tallystick.poco.contribution import result_hash
from tallystick.poco.deal import Deal
from tallystick.poco.values import Address, DealId, Digest, Signature
from tallystick.scheduler.audits import Audits

if TYPE_CHECKING:
    from tallystick.lifecycle.evidence import Policy
    from tallystick.scheduler.roster import Roster

_DEAL: Final = Deal(DealId(b"\x01" * 32), start=1_000, time_unit=600, trust=1)
_NOW: Final = 1_001
_PERMIT: Final = Signature(bytes(65))
_POWER: Final = 2
_RIGHT, _WRONG = Digest(b"\1" * 32), Digest(b"\2" * 32)
_SOMEBODY: Final = Address(b"\x01" * 20)
_AUDITORS: Final = tuple(Address(bytes([n]) * 20) for n in (0xFD, 0xFE, 0xFF))


class _Strangers:
    """A roster that knows of nobody who runs it."""

    def owner(self, worker: Address) -> str:
        """Nobody."""
        return ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a task."""

    executions: int
    right: bool | None
    """Of what was accepted; None: nothing was, the task ends by claim."""
    found: tuple[f.Audited, ...]


@dataclass(slots=True)
class Court:
    """A scheduler's audits, and the tasks that come before them. Workers of its own audit, and
    are always right."""

    policy: Policy
    draw: Callable[[], float]
    audits: Audits = field(init=False)
    _known: dict[tuple[f.Scrutiny, bool], Verdict] = field(
        default_factory=dict[tuple[f.Scrutiny, bool], Verdict]
    )
    _tasks: int = 0

    def __post_init__(self) -> None:
        self.audits = Audits(cast("Roster", _Strangers()), self.draw)
        self.audits.policy, self.audits.auditors = self.policy, _AUDITORS

    def decide(self, worker: Address, *, right: bool, classic: bool) -> Verdict:
        """Have `worker` do a task, and learn from it. `classic`: it may vote from the start."""
        terms = self.audits.terms(_OPENED, worker, _POWER, digest_first=not classic)
        assert terms is not None
        key = (terms, right)
        if key not in self._known:
            self._known[key] = _tried(terms, right, self.audits)
        verdict = self._known[key]
        self._tasks += 1
        for found in verdict.found:
            told = f.Audited(worker, found.agreed, found.owner, found.counts)
            self.audits.keep(Entry(self._tasks, str(self._tasks), told, at=1.0), None)
        return verdict


def _new() -> Task:
    task = fold([f.Ordered(_DEAL, 0), f.Initialized()])
    assert task is not None
    return task


_OPENED: Final = _new()


def _tried(terms: f.Scrutiny, right: bool, audits: Audits) -> Verdict:
    """Who is like this worker is treated alike: what was found out once is looked up."""
    digest = _RIGHT if right else _WRONG
    task, found, executions = _computed(_OPENED, _SOMEBODY, terms, digest), list[f.Audited](), 1
    if not terms.digest_first:
        task = _voted(task, _SOMEBODY, digest)
    while True:
        task, news = _settled(task)
        found += news
        if not wants_opinion(task, _NOW):
            break
        auditor, executions = _AUDITORS[executions - 1], executions + 1
        second = audits.terms(task, auditor, _POWER, digest_first=True)
        assert second is not None
        task = _computed(task, auditor, second, _RIGHT)
    for each in list(task.replicates.values()):
        if each.authorization and each.digest and task.takes_votes:
            task = _voted(task, each.worker, each.digest)
    paid = task.consensus is not None and not withholds(task, _NOW)
    truth = task.consensus == result_hash(task.id, _RIGHT)
    return Verdict(executions, truth if paid else None, tuple(found))


def _computed(task: Task, worker: Address, terms: f.Scrutiny, digest: Digest) -> Task:
    signed, told = (None, digest) if terms.digest_first else (_PERMIT, None)
    for fact in (
        f.Assigned(worker, _POWER, signed, scrutiny=terms),
        *(f.Started(worker), f.AppFetched(worker), f.DataFetched(worker)),
        f.Computed(worker, told),
    ):
        task = advance(task, fact)
    return task


def _voted(task: Task, worker: Address, digest: Digest) -> Task:
    vote = result_hash(task.id, digest)
    task = advance(task, f.Contributed(worker, vote, _POWER))
    task = advance(task, f.ConsensusReached(vote, _DEAL.contribution_deadline))
    return advance(task, f.Revealed(worker, digest))


def _settled(task: Task) -> tuple[Task, list[f.Audited]]:
    """All that the scheduler owes is done."""
    found = list[f.Audited]()
    while command := next(owed_audits(task, _NOW), None):
        if isinstance(command, Conclude):
            counts = command.counts or not command.agreed
            told = f.Audited(command.worker, command.agreed, command.owner, counts)
            found.append(told)
            task = advance(task, told)
        else:
            task = advance(task, f.Authorized(command.worker, _PERMIT))
    return task, found
