"""What v9 workers are told without having asked: the agenda of a task, put into their words.

Nothing here is remembered. Whoever subscribes late, or again, is told what is owed then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from tallystick.lifecycle.agenda import Do, owed_by_worker
from tallystick.lifecycle.facts import ConsensusReached, Step
from tallystick.lifecycle.replicate import OVER, Replicate, Status
from tallystick.lifecycle.task import Task, TaskStatus
from tallystick.poco.values import Address, Instant, TaskId
from tallystick.scheduler.channel.notice import ABORT, COMPLETE, REVEAL, UPLOAD, Notice
from tallystick.wire.notifications import NotificationExtra, TaskNotification

if TYPE_CHECKING:
    from tallystick.engine.journal import Entry, Journal
    from tallystick.lifecycle.facts import Fact
    from tallystick.scheduler.pool import Pool


class TaskBooks:
    """The tasks of a pool as its channel tells of them."""

    def __init__(self, pool: Pool, journal: Journal[Fact]) -> None:
        self._pool, self._journal = pool, journal
        self._blocks: dict[str, int] = {}
        """Of tasks with a consensus, the block that proves it."""
        self._unended: dict[Address, dict[str, Task]] = {}
        """Tasks that are over, by workers that have not said that they tidied up."""
        for stream in pool.engine.states:
            self._changed(stream)
        pool.engine.watch(self._changed)

    def unended(self, worker: Address) -> Iterable[Task]:
        """The tasks that are over, but not for this worker."""
        return list(self._unended.get(worker, {}).values())

    def owed(self, task: TaskId) -> Iterable[Notice]:
        """What the workers of a task are to be told now; nothing while the chain was not seen
        yet, since that decides."""
        known = self._pool.engine.states.get(str(task))
        clock = self._pool.clock
        return notices(known, clock.now()) if known is not None and clock.known else ()

    def written(self, task: TaskId, word: str, workers: Sequence[Address], cause: str) -> str:
        """A notification for these workers; for all who listen when none is named."""
        return self.notification(task, word, workers, cause).model_dump_json(by_alias=True)

    def notification(
        self, task: TaskId, word: str, workers: Sequence[Address], cause: str = ""
    ) -> TaskNotification:
        """The same, without an authorization: who has begun has one."""
        extra = None
        if word == REVEAL:
            extra = NotificationExtra(block_number=self.consensus_block(task))
        elif cause:
            extra = NotificationExtra(task_abort_cause=cause)
        return TaskNotification(
            chain_task_id=task,
            workers_address=tuple(workers),
            task_notification_type=word,
            task_notification_extra=extra,
        )

    def consensus_block(self, task: TaskId) -> int:
        """The block in which the votes of a task agreed; 0 when that is not known."""
        stream = str(task)
        if stream not in self._blocks:
            self._blocks[stream] = _newest(self._journal.read(stream=stream))
        return self._blocks[stream]

    def _changed(self, stream: str) -> None:
        """It may have been reopened, or the chain went back."""
        self._blocks.pop(stream, None)
        task = self._pool.engine.states.get(stream)
        for each in task.replicates.values() if task is not None else ():
            assert task is not None
            if task.status.over and each.revealed and each.status not in OVER:
                self._unended.setdefault(each.worker, {})[stream] = task
            elif mine := self._unended.get(each.worker):
                mine.pop(stream, None)


def _newest(entries: Iterable[Entry[Fact]]) -> int:
    block = 0
    for entry in entries:
        if isinstance(entry.fact, ConsensusReached) and entry.ref is not None:
            block = entry.ref.block
    return block


def notices(task: Task, now: Instant) -> Iterator[Notice]:
    """Everything that workers of `task` are to be told now. Whoever has begun with it, or has
    ended otherwise, is not asked again."""
    match task.status:
        case TaskStatus.COMPLETED:
            yield Notice(COMPLETE)
        case TaskStatus.FAILED:
            yield Notice(ABORT, cause="UNKNOWN")
        case TaskStatus.REVEALING:
            for each in task.replicates.values():
                yield from _after_consensus(task, each, now)
        case TaskStatus.ACTIVE:
            for each in task.replicates.values():
                yield from _before_consensus(task, each, now)
        case TaskStatus.UNSET:
            return


def _before_consensus(task: Task, mine: Replicate, now: Instant) -> Iterator[Notice]:
    if mine.status is Status.REJECTED:  # a vote that nobody revealed in time, and is void
        yield Notice(ABORT, mine.worker, "UNKNOWN")
    elif now >= task.deal.contribution_deadline and not _has_dropped(mine):
        yield Notice(ABORT, mine.worker, "CONTRIBUTION_TIMEOUT")


def _after_consensus(task: Task, mine: Replicate, now: Instant) -> Iterator[Notice]:
    if mine.status in OVER:
        return
    if mine.vote != task.consensus:
        if not _has_dropped(mine):
            yield Notice(ABORT, mine.worker, "CONSENSUS_REACHED")
        return
    for due in owed_by_worker(task, mine.worker, now):
        if isinstance(due, Do) and due.step in _ASKED and mine.doing is not due.step:
            yield Notice(_ASKED[due.step], mine.worker)


_ASKED: Final = {Step.REVEAL: REVEAL, Step.UPLOAD: UPLOAD}
"""The steps that no answer to a report asks for."""


def _has_dropped(mine: Replicate) -> bool:
    """Whether it is over, or its worker has said so of a vote that still stands."""
    return mine.status in OVER or mine.gave_up is not None
