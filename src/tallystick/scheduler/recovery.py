"""How a v9 worker that started again goes on with each task it takes part in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tallystick.lifecycle.agenda import Do, owed_by_worker
from tallystick.lifecycle.facts import Step
from tallystick.lifecycle.replicate import BEFORE_VOTE, OVER, Replicate, Status
from tallystick.lifecycle.task import Task, TaskStatus
from tallystick.poco.values import Address, Instant
from tallystick.wire.notifications import NotificationExtra, TaskNotification

if TYPE_CHECKING:
    from tallystick.scheduler.channel import TaskBooks
    from tallystick.scheduler.pool import Pool


def recovered(pool: Pool, books: TaskBooks, worker: Address) -> Iterator[TaskNotification]:
    """What the worker is told about every task that it may still have a result of. It takes up
    those whose results it finds on its disk, and forgets the others."""
    now = pool.clock.now()
    for task in [*pool.openings.held_by(worker), *books.unended(worker)]:
        word, cause = _word(task, task.replicates[worker], now)
        if not word:
            continue
        block = books.consensus_block(task.id) if word == "PLEASE_REVEAL" else 0
        yield TaskNotification(
            chain_task_id=task.id,
            workers_address=(worker,),
            task_notification_type=word,
            task_notification_extra=NotificationExtra(
                workerpool_authorization=pool.authorization(task, worker),
                block_number=block,
                task_abort_cause=cause or None,
            ),
        )


def _word(task: Task, mine: Replicate, now: Instant) -> tuple[str, str]:
    """The word, and why if it is to abort; no word where it has nothing to do."""
    dropped = mine.gave_up is not None and mine.vote != task.consensus
    if mine.status in OVER or dropped:
        return "", ""
    match task.status:
        case TaskStatus.ACTIVE:
            return _before_consensus(task, mine, now)
        case TaskStatus.REVEALING:
            return _after_consensus(task, mine, now)
        case TaskStatus.COMPLETED if mine.revealed:
            return "PLEASE_COMPLETE", ""
        case _:
            return "", ""


def _before_consensus(task: Task, mine: Replicate, now: Instant) -> tuple[str, str]:
    if now >= task.deal.contribution_deadline:
        return "PLEASE_ABORT", "CONTRIBUTION_TIMEOUT"
    return ("PLEASE_CONTRIBUTE" if mine.status in BEFORE_VOTE else "PLEASE_WAIT"), ""


def _after_consensus(task: Task, mine: Replicate, now: Instant) -> tuple[str, str]:
    """A winner that is not the uploader keeps its result: it may have to upload it yet. Who
    voted otherwise is told to reveal as well, as v9 does: it looks at the chain, sees that it
    cannot, and drops the task when it has said so."""
    if mine.vote is None:
        return "PLEASE_ABORT", "CONSENSUS_REACHED"
    if mine.vote != task.consensus:
        return "PLEASE_REVEAL", ""
    if mine.status is Status.UPLOAD_REQUESTED:
        return "PLEASE_UPLOAD", ""
    owed = owed_by_worker(task, mine.worker, now)
    reveals = any(isinstance(due, Do) and due.step is Step.REVEAL for due in owed)
    return ("PLEASE_REVEAL" if reveals else "PLEASE_WAIT"), ""
