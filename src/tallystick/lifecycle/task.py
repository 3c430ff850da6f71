"""A task: its deal, its stage on chain and its replicates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from tallystick.lifecycle.facts import (
    Aborted,
    Assigned,
    Claimed,
    ConsensusReached,
    Contributed,
    Fact,
    Finalized,
    IllegalFact,
    Initialized,
    Ordered,
    Reopened,
    ReplicateFact,
    RevealOverdue,
)
from tallystick.lifecycle.replicate import Replicate, Status, dropped, paid
from tallystick.lifecycle.replicate import advance as advance_replicate
from tallystick.poco.contribution import Tally
from tallystick.poco.deal import Deal
from tallystick.poco.values import Address, Hash, Instant, TaskId


class TaskStatus(StrEnum):
    """The states of a task on chain."""

    UNSET = "unset"
    ACTIVE = "active"
    REVEALING = "revealing"
    COMPLETED = "completed"
    FAILED = "failed"

    @property
    def over(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self in (TaskStatus.COMPLETED, TaskStatus.FAILED)


@dataclass(frozen=True, slots=True)
class Task:
    """What is known of one execution of a deal."""

    id: TaskId
    index: int
    deal: Deal
    status: TaskStatus = TaskStatus.UNSET
    tally: Tally = field(default_factory=Tally)
    consensus: Hash | None = None
    reveal_deadline: Instant | None = None
    replicates: Mapping[Address, Replicate] = field(default_factory=dict[Address, Replicate])

    @property
    def takes_votes(self) -> bool:
        """Whether it is open, and nothing has won."""
        return self.status is TaskStatus.ACTIVE

    @property
    def is_decided(self) -> bool:
        """Whether a result has won, and nobody is paid yet."""
        return self.status is TaskStatus.REVEALING

    def in_status(self, *wanted: Status) -> Iterator[Replicate]:
        """The replicates in one of these."""
        return (r for r in self.replicates.values() if r.status in wanted)

    @property
    def winners(self) -> Iterator[Replicate]:
        """Those whose vote is the consensus, whether revealed yet or not."""
        return (
            r
            for r in self.replicates.values()
            if r.vote and r.vote == self.consensus and r.status is not Status.REJECTED
        )

    @property
    def link(self) -> str | None:
        """Where the result is, once a winner uploaded it."""
        return next((r.link for r in self.winners if r.link), None)

    @property
    def callback(self) -> str:
        """What the requester's contract is to be told, by the winner of `link`, in hex."""
        return next((r.callback for r in self.winners if r.link), "")


def fold(facts: Iterable[Fact]) -> Task | None:
    """The task after all of `facts`: replay, and what is left of it after a reorg.

    Births come first, since a deal that a reorg moved is told again after facts that still
    hold. What can no longer follow, because the chain took back what it rested on, is left
    out: the agenda then asks for it anew.
    """
    task: Task | None = None
    for fact in sorted(facts, key=lambda fact: not isinstance(fact, Ordered)):
        try:
            task = advance(task, fact)
        except IllegalFact:
            continue
    return task


def advance(task: Task | None, fact: Fact) -> Task:
    """The task after `fact`, or IllegalFact if it cannot follow."""
    match fact, task:
        case Ordered(deal, index), None:
            return Task(deal.task_id(index), index, deal)
        case Ordered(deal, index), Task():
            if deal.task_id(index) != task.id:
                raise IllegalFact(f"{task.id} is not task {index} of deal {deal.id}")
            return replace(task, deal=deal)
        case _, None:
            raise IllegalFact(f"{type(fact).__name__} on a task that nobody bought")
        case _, Task():
            return _advance(task, fact)


def _advance(task: Task, fact: Fact) -> Task:
    match fact:
        case Ordered():
            raise AssertionError("births are handled above")
        case Initialized():
            return _move(task, fact, {TaskStatus.UNSET}, TaskStatus.ACTIVE)
        case ConsensusReached(result_hash, deadline):
            task = _move(task, fact, {TaskStatus.ACTIVE}, TaskStatus.REVEALING)
            return replace(task, consensus=result_hash, reveal_deadline=deadline)
        case Reopened():
            return _reopen(_move(task, fact, {TaskStatus.REVEALING}, TaskStatus.ACTIVE))
        case Finalized():
            return _end(_move(task, fact, {TaskStatus.REVEALING}, TaskStatus.COMPLETED), paid)
        case Claimed():
            may_be = {TaskStatus.ACTIVE, TaskStatus.REVEALING}
            return _end(_move(task, fact, may_be, TaskStatus.FAILED), dropped)
        case Assigned():
            return _assign(task, _given(task, fact))
        case Contributed():
            return _vote(task, fact)
        case _:
            return _advance_replicate(task, fact)


def _move(task: Task, fact: Fact, before: set[TaskStatus], after: TaskStatus) -> Task:
    if task.status not in before:
        raise IllegalFact(f"{type(fact).__name__} on a task that is {task.status}")
    return replace(task, status=after)


def _end(task: Task, what: Callable[[Replicate], Replicate]) -> Task:
    ended = {worker: what(each) for worker, each in task.replicates.items()}
    return replace(task, replicates=ended)


def _given(task: Task, fact: Assigned) -> Replicate:
    return Replicate(
        fact.worker,
        fact.weight,
        authorization=fact.authorization,
        alone=fact.alone and not any(r.vote for r in task.replicates.values()),
        scrutiny=fact.scrutiny,
    )


def _assign(task: Task, replicate: Replicate) -> Task:
    """A replicate may be known from its vote alone, when a backup was restored: then only
    its authorization is news."""
    known = task.replicates.get(replicate.worker)
    if known is None:
        return _with_replicate(task, replicate)
    if known.authorization or not replicate.authorization:
        raise IllegalFact(f"{replicate.worker} already has a replicate of {task.id}")
    return _with_replicate(task, replace(known, authorization=replicate.authorization))


def _vote(task: Task, fact: Contributed) -> Task:
    """The chain is believed even about a worker that nobody here has assigned."""
    known = task.replicates.get(fact.worker, Replicate(fact.worker, fact.weight))
    task = _with_replicate(task, advance_replicate(known, fact))
    task = _leave_alone(task, fact.worker)
    return replace(task, tally=task.tally.vote(fact.result_hash, fact.weight))


def _leave_alone(task: Task, voter: Address) -> Task:
    """After a vote the contracts let nobody else contribute and finalize at once."""
    others = {
        r.worker: replace(r, alone=False)
        for r in task.replicates.values()
        if r.alone and r.worker != voter and not r.vote
    }
    return replace(task, replicates={**task.replicates, **others}) if others else task


def _advance_replicate(task: Task, fact: ReplicateFact) -> Task:
    if fact.worker not in task.replicates:
        raise IllegalFact(f"{fact.worker} has no replicate of {task.id}")
    if isinstance(fact, RevealOverdue) and task.status is not TaskStatus.REVEALING:
        # It was about a consensus that a reorg took back: the next one has its own deadline.
        raise IllegalFact(f"nothing is to be revealed of {task.id}")
    after = advance_replicate(task.replicates[fact.worker], fact)
    if isinstance(fact, Aborted) and task.status.over:
        after = dropped(after)
    return _with_replicate(task, after)


def _with_replicate(task: Task, replicate: Replicate) -> Task:
    return replace(task, replicates={**task.replicates, replicate.worker: replicate})


def _reopen(task: Task) -> Task:
    assert task.consensus is not None
    voided = {
        r.worker: replace(r, status=Status.REJECTED, doing=None, away=None, held=None)
        for r in task.winners
    }
    return replace(
        task,
        consensus=None,
        reveal_deadline=None,
        tally=task.tally.without(task.consensus),
        replicates={**task.replicates, **voided},
    )
