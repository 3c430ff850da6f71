"""The life of a task as its worker's operator reads it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from tallystick.engine.journal import Entry
from tallystick.lifecycle import views
from tallystick.lifecycle.facts import Fact, IllegalFact, Ordered
from tallystick.lifecycle.history import Row, authority, history
from tallystick.lifecycle.replicate import OVER, Replicate, Status
from tallystick.lifecycle.stages import task_status
from tallystick.lifecycle.task import Task, TaskStatus, advance
from tallystick.poco.values import Address


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened to a task."""

    at: float
    """Seconds since the epoch, by this machine's clock."""
    fact: str
    by: str
    """Who says so: worker, pool manager or chain."""
    worker: str | None
    modern: str | None
    """What our replicate was then called by versions 3.2 to 9 ..."""
    seed: str | None
    """... and by 3.0."""
    cause: str | None
    block: int | None
    transaction: str | None


@dataclass(slots=True)
class Chronicle:
    """One task from its deal to its end, from one worker's view."""

    me: Address
    task: Task
    moments: list[Moment] = field(default_factory=list[Moment])
    rows: tuple[Row, ...] = ()
    """Every status our replicate had, without a gap."""

    @property
    def mine(self) -> Replicate | None:
        """Our replicate of it."""
        return self.task.replicates.get(self.me)

    @property
    def over(self) -> bool:
        """Whether nothing will happen any more that concerns us."""
        mine = self.mine
        return self.task.status.over or mine is None or (mine.status in OVER and not mine.vote)

    @property
    def began(self) -> float:
        """When we first heard of it."""
        return self.moments[0].at if self.moments else 0.0

    @property
    def ended(self) -> float | None:
        """When the last thing happened, of a task that is over."""
        return self.moments[-1].at if self.over and self.moments else None


def chronicle(entries: Iterable[Entry[Fact]], me: Address) -> Chronicle | None:
    """What the facts of one task tell; None when they do not tell of its deal."""
    told: Chronicle | None = None
    entries = list(entries)
    for entry in sorted(entries, key=lambda entry: not isinstance(entry.fact, Ordered)):
        try:
            task = advance(told.task if told else None, entry.fact)
        except IllegalFact:
            continue
        if told is None:
            told = Chronicle(me, task)
        told.task = task
        told.moments.append(_moment(entry, told.mine))
    if told is not None:
        told.rows = history(entries).get(me, ())
    return told


def verdict_on_vote(task: Task, mine: Replicate) -> bool | None:
    """Whether our vote is what the task decided for; None while that is open, or without
    one."""
    if mine.vote is None or (task.consensus is None and mine.status is not Status.REJECTED):
        return None
    return mine.vote == task.consensus


def as_row(told: Chronicle) -> dict[str, Any]:
    """What a list of tasks shows of one."""
    task, mine = told.task, told.mine
    return {
        "task": str(task.id),
        "task_status": task_status(task),
        "status": views.modern(mine) if mine else None,
        "seed_status": views.seed(mine) if mine else None,
        "step": str(mine.doing) if mine and mine.doing else None,
        "cause": mine.cause if mine else None,
        "exit_code": mine.exit_code if mine else None,
        "over": told.over,
        "began": told.began,
        "ended": told.ended,
        "app": str(task.deal.app.pointer),
        "requester": str(task.deal.requester),
        "trust": task.deal.trust,
        "category": task.deal.category,
        "price": task.deal.workerpool.price,
        "stake": task.deal.worker_stake,
        "voted": bool(mine and mine.vote),
        "in_consensus": verdict_on_vote(task, mine) if mine else None,
        "revealed": bool(mine and mine.revealed),
    }


def as_history(told: Chronicle) -> dict[str, Any]:
    """All of it: the row, the deal, the vote, the deadlines and every moment."""
    task, mine, deal = told.task, told.mine, told.task.deal
    return {
        **as_row(told),
        "deal": str(deal.id),
        "index": task.index,
        "dataset": str(deal.dataset.pointer),
        "digest": str(mine.digest) if mine and mine.digest else None,
        "vote": str(mine.vote) if mine and mine.vote else None,
        "consensus": str(task.consensus) if task.consensus else None,
        "weight": mine.weight if mine else None,
        "link": mine.link if mine else None,
        "contribution_deadline": deal.contribution_deadline,
        "reveal_deadline": task.reveal_deadline,
        "final_deadline": deal.final_deadline,
        "stake_is_locked": stake_is_locked(told),
        "moments": [_as_moment(each) for each in told.moments],
        "statuses": [asdict(row) for row in told.rows],
    }


def stake_is_locked(told: Chronicle) -> bool:
    """Whether our stake is inside this task now."""
    open_still = told.task.status in (TaskStatus.ACTIVE, TaskStatus.REVEALING)
    return bool(told.mine and told.mine.vote) and open_still


def _moment(entry: Entry[Fact], mine: Replicate | None) -> Moment:
    worker = getattr(entry.fact, "worker", None)
    cause = getattr(entry.fact, "cause", None)
    return Moment(
        at=entry.at,
        fact=type(entry.fact).__name__,
        by=authority(entry.fact),
        worker=str(worker) if worker else None,
        modern=views.modern(mine) if mine else None,
        seed=views.seed(mine) if mine else None,
        cause=cause,
        block=entry.ref.block if entry.ref else None,
        transaction=entry.ref.tx if entry.ref else None,
    )


def _as_moment(moment: Moment) -> dict[str, Any]:
    return {
        "at": moment.at,
        "fact": moment.fact,
        "by": moment.by,
        "worker": moment.worker,
        "status": moment.modern,
        "seed_status": moment.seed,
        "cause": moment.cause,
        "block": moment.block,
        "transaction": moment.transaction,
    }
