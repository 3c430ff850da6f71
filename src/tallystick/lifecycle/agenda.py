"""What each side owes a task. Pure: the same task at the same time owes the same things.

A command is due for as long as the state says so, and no longer; nothing here is
remembered, queued or retried. `now` decides whether a command is due, never which: a
command that named the time would be a new one every second.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from tallystick.lifecycle.audit import (
    Authorize,
    Conclude,
    is_refuted,
    owed_audits,
    waits,
    wants_opinion,
    withholds,
)
from tallystick.lifecycle.facts import Lost, RevealOverdue, Step, UploadOverdue
from tallystick.lifecycle.margins import headroom
from tallystick.lifecycle.replicate import BEFORE_VOTE, OVER, STARTS_FROM, Replicate, Status
from tallystick.lifecycle.task import Task, TaskStatus
from tallystick.poco.params import parse_params
from tallystick.poco.tags import needs_enclave
from tallystick.poco.values import Address, DealId, Digest, Hash, Instant, TaskId

UPLOAD_PERIOD = 120
_ANY_RESULT = Hash(bytes(32))


@dataclass(frozen=True, slots=True)
class Do:
    """The worker's next step, with the digest once there is one."""

    task: TaskId
    step: Step
    digest: Digest | None = None


@dataclass(frozen=True, slots=True)
class Abort:
    """Stop, clean up, tell why."""

    task: TaskId
    cause: str


WorkerCommand: TypeAlias = Do | Abort


@dataclass(frozen=True, slots=True)
class Initialize:
    """Open the task on chain."""

    task: TaskId
    deal: DealId
    index: int


@dataclass(frozen=True, slots=True)
class RequestUpload:
    """Choose the winner that publishes the result."""

    task: TaskId
    worker: Address


@dataclass(frozen=True, slots=True)
class Finalize:
    """Close the task on chain and pay everyone."""

    task: TaskId
    link: str
    callback: str = ""
    """What the requester's contract is told, in hex."""


@dataclass(frozen=True, slots=True)
class Reopen:
    """No winner revealed: void the consensus and let others vote."""

    task: TaskId


@dataclass(frozen=True, slots=True)
class Claim:
    """Too late: refund the requester."""

    task: TaskId


@dataclass(frozen=True, slots=True)
class ClaimUnopened:
    """Too late for a task that was never opened: refund the requester."""

    task: TaskId
    deal: DealId
    index: int


OwnCommand: TypeAlias = WorkerCommand | Claim
"""What a worker does by itself: also what no scheduler ever asks it for."""

PoolCommand: TypeAlias = (
    Initialize
    | Conclude
    | Authorize
    | RequestUpload
    | Finalize
    | Reopen
    | Claim
    | ClaimUnopened
)


def owed_by_worker(task: Task, me: Address, now: Instant) -> Iterator[WorkerCommand]:
    """Every command that is due for `me`. A scheduler can ask it too, about any worker."""
    mine = task.replicates.get(me)
    if mine is None or mine.status in OVER:
        return
    soon = now + headroom(task.deal)
    can_vote = task.status is TaskStatus.ACTIVE and soon < task.deal.contribution_deadline
    can_reveal = task.reveal_deadline is not None and soon < task.reveal_deadline
    if task.status.over:
        yield _last_act(task, mine)
    elif mine.status in BEFORE_VOTE:
        if can_vote or _gives_opinion(task, mine, soon):
            if not waits(mine):
                yield Do(task.id, _next_step(mine), mine.digest)
        elif task.status is not TaskStatus.UNSET and not may_reopen(task, now):
            yield Abort(task.id, _why(task))
    elif mine.status is Status.CONTRIBUTED and can_reveal and mine.vote == task.consensus:
        yield Do(task.id, Step.REVEAL, mine.digest)
    elif mine.status is Status.UPLOAD_REQUESTED:
        yield Do(task.id, Step.UPLOAD)


def may_reopen(task: Task, now: Instant) -> bool:
    """Whether nobody has revealed in time, so that votes will be wanted once more. Who is given
    the task then may be told so before its own node knows that it was reopened."""
    if task.status is not TaskStatus.REVEALING or task.reveal_deadline is None:
        return False
    in_time = now + headroom(task.deal) < task.deal.contribution_deadline
    missed = now >= task.reveal_deadline and not any(r.revealed for r in task.winners)
    return missed and in_time


def _gives_opinion(task: Task, mine: Replicate, soon: Instant) -> bool:
    """Whether others voted already, and what this worker computes is wanted all the same."""
    asked = mine.scrutiny is not None and mine.scrutiny.audits and mine.digest is None
    return asked and task.status is TaskStatus.REVEALING and soon < task.deal.final_deadline


def stake_to_claim(task: Task, me: Address, now: Instant) -> Iterator[Claim]:
    """The task that `me` has a stake in, and that nobody ended in time: whoever claims it
    gives every voter its stake back, right or wrong. The scheduler may do it first, for a time
    unit."""
    mine = task.replicates.get(me)
    if mine is None or mine.vote is None or not task.deal.worker_stake:
        return
    is_open = task.status in (TaskStatus.ACTIVE, TaskStatus.REVEALING)
    if is_open and now >= task.deal.final_deadline + task.deal.time_unit:
        yield Claim(task.id)


_ALONE = {
    Status.CHECKED: Step.PUBLISH,
    Status.PUBLISHED: Step.FINISH,
}
"""What only a worker does whose vote finalizes the task."""
_NEXT = {
    status: step
    for step, starts in reversed(tuple(STARTS_FROM.items()))
    if step not in (Step.PUBLISH, Step.FINISH)
    for status in starts
}
"""The earliest step that a status allows: our own workers check before they vote."""


def _next_step(mine: Replicate) -> Step:
    return (_ALONE if mine.alone else _NEXT).get(mine.status) or _NEXT[mine.status]


def may_finish(task: Task) -> bool:
    """Whether the contracts would let somebody contribute and finalize `task` at once: one
    vote decides, and there is none yet. Left out are enclaves, which workers of ours lack, and
    results for a store that the deal names, which may take nothing before a vote."""
    deal = task.deal
    voted = any(r.vote for r in task.replicates.values())
    elsewhere = not deal.has_callback and parse_params(deal.params).storage_proxy
    return deal.trust <= 1 and not (voted or needs_enclave(deal.tag) or elsewhere)


def _last_act(task: Task, mine: Replicate) -> WorkerCommand:
    if task.status is TaskStatus.COMPLETED and mine.status in STARTS_FROM[Step.COMPLETE]:
        return Do(task.id, Step.COMPLETE)
    return Abort(task.id, _why(task))


def _why(task: Task) -> str:
    return "CONSENSUS_REACHED" if task.consensus else "CONTRIBUTION_TIMEOUT"


def owed_by_pool(task: Task, now: Instant) -> Iterator[PoolCommand]:
    """Every command that is due for the scheduler."""
    yield from owed_audits(task, now)
    soon = now + headroom(task.deal)
    match task.status:
        case TaskStatus.UNSET if now >= task.deal.final_deadline:
            yield ClaimUnopened(task.id, task.deal.id, task.index)
        case TaskStatus.UNSET if soon < task.deal.contribution_deadline:
            yield Initialize(task.id, task.deal.id, task.index)
        case TaskStatus.ACTIVE | TaskStatus.REVEALING if now >= task.deal.final_deadline:
            yield Claim(task.id)
        case TaskStatus.REVEALING if soon < task.deal.final_deadline:
            yield from _after_consensus(task, now)
        case _:
            return


def _after_consensus(task: Task, now: Instant) -> Iterator[PoolCommand]:
    assert task.reveal_deadline is not None
    winners = list(task.winners)
    revealed = [r for r in winners if r.revealed]
    late = now >= task.reveal_deadline
    if late and not revealed:
        yield Reopen(task.id)
    elif is_refuted(task):
        return
    elif task.link and (late or len(revealed) == len(winners)):
        if not withholds(task, now):
            yield Finalize(task.id, task.link, task.callback)
    elif not task.link and not any(_uploading(r, now) for r in revealed):
        ready = [r for r in revealed if r.status is Status.REVEALED]
        # Whoever said that it dropped the task may have its result all the same.
        for chosen in sorted(ready, key=lambda r: r.gave_up is not None)[:1]:
            yield RequestUpload(task.id, chosen.worker)


def _uploading(replicate: Replicate, now: Instant) -> bool:
    due = replicate.upload_deadline
    return replicate.status is Status.UPLOAD_REQUESTED and due is not None and now < due


def overdue(task: Task, now: Instant) -> Iterator[RevealOverdue | UploadOverdue]:
    """What the scheduler has waited for in vain, on a task that goes on without it."""
    if task.status is not TaskStatus.REVEALING or task.reveal_deadline is None:
        return
    for each in task.winners:
        due = each.upload_deadline
        if each.status is Status.CONTRIBUTED and now >= task.reveal_deadline:
            yield RevealOverdue(each.worker)
        elif each.status is Status.UPLOAD_REQUESTED and not each.failed and due and now >= due:
            yield UploadOverdue(each.worker)


def wants_worker(task: Task, now: Instant) -> bool:
    """Recruit unless the replicates we already have could settle the task by themselves.

    Suppose every pending replicate votes with the leader: if even that is no consensus,
    one more is needed. With nobody pending the chain has the last word: it is still open,
    so one more is needed whatever our own count says. A result that is to be computed again
    wants a worker too.
    """
    if wants_opinion(task, now):
        return True
    if (
        task.status is not TaskStatus.ACTIVE
        or now + headroom(task.deal) >= task.deal.contribution_deadline
    ):
        return False
    pending = [r for r in task.in_status(*BEFORE_VOTE) if not isinstance(r.away, Lost)]
    best_case, leader = task.tally, task.tally.leader or _ANY_RESULT
    for replicate in pending:
        best_case = best_case.vote(leader, replicate.weight)
    return not pending or not best_case.settles(leader, task.deal.trust)
