"""What a v9 scheduler asks of us, as facts. The chain decides what is true of it: whoever
reaches the scheduler may speak on its channel, and no stake may depend on that."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from tallystick.chain.records import TaskState
from tallystick.engine.pulse import Pulse
from tallystick.lifecycle.facts import Aborted, Fact, UploadRequested
from tallystick.lifecycle.replicate import BEFORE_VOTE, Replicate, Status
from tallystick.lifecycle.task import Task, TaskStatus
from tallystick.wire.notifications import NotificationExtra, TaskNotification
from tallystick.wire.scheduler import ReplicateOffer
from tallystick.wire.v9 import ABORT, COMPLETE, CONTRIBUTE, REVEAL, UPLOAD, V9Client

if TYPE_CHECKING:
    from tallystick.worker.session import Session

log = logging.getLogger(__name__)

UPLOAD_SECONDS = 120
"""For which a v9 scheduler waits for an upload that it has asked for."""
_OVER = ("", "FAILED", "COMPLETED", "RUNNING_FAILED", "CONTRIBUTION_TIMEOUT")
"""Statuses of a task for which a v9 scheduler wants nothing more of its workers."""

_UNDECIDED = ("RECEIVED", "INITIALIZING", "INITIALIZED", "RUNNING")
_AGAIN = 5.0
"""Seconds between two looks at what the scheduler knows of a task."""
_PATIENCE = 30.0
"""Seconds that a scheduler is waited for which does not say what it knows."""

Take = Callable[[ReplicateOffer], Awaitable[None]]
Expect = Callable[[str, Fact], None]


@dataclass(slots=True)
class Orders:
    """Obeys as far as that loses nothing."""

    session: Session
    client: V9Client
    take: Take
    expect: Expect
    """Records a fact as soon as it can follow."""
    _agreed: set[str] = field(default_factory=set[str])
    """Tasks whose consensus the scheduler knows."""
    _heard: Pulse = field(default_factory=Pulse)

    async def hear(self, news: TaskNotification, *, recovering: bool = False) -> None:
        """Somebody who may be the scheduler says so; `recovering`: it has answered our own
        question. Raises Unavailable."""
        me, stream = self.session.me, str(news.chain_task_id)
        if news.workers_address and me not in news.workers_address:
            return
        extra = news.task_notification_extra or NotificationExtra()
        word, permission = news.task_notification_type, extra.workerpool_authorization
        if recovering and word == CONTRIBUTE and permission is not None:
            # Of a journal that was lost, or older: what was computed is computed again.
            await self.take(ReplicateOffer(workerpool_authorization=permission))
        task, mine = self._mine(stream)
        if task is None or mine is None:
            return
        if word in (REVEAL, UPLOAD, COMPLETE):
            if recovering:
                self._agreed.add(stream)
            self._heard.beat()
        if word == UPLOAD and (recovering or await self._is_uploader(task)):
            self.upload(stream)
        elif word == ABORT:
            cause = extra.task_abort_cause or "UNKNOWN"
            await self.abort(stream, cause, sure=recovering)

    async def _is_uploader(self, task: Task) -> bool:
        """A store refuses what comes before the scheduler wants it, and a refusal is final."""
        status, uploader = await self.client.fate(task.id)
        return not status or uploader == str(self.session.me)

    def upload(self, stream: str) -> None:
        """We are the one who brings the result to the store."""
        _, mine = self._mine(stream)
        if mine is not None and mine.status in (
            *BEFORE_VOTE,
            Status.CONTRIBUTED,
            Status.REVEALED,
        ):
            due = self.session.follower.clock.now() + UPLOAD_SECONDS
            self.expect(stream, UploadRequested(self.session.me, due))

    async def abort(self, stream: str, cause: str, *, sure: bool) -> None:
        """Drop our replicate, unless it has voted: then its stake is worth more than what the
        scheduler thinks. Unless we are `sure` who says so, we look whether it can be true."""
        task, mine = self._mine(stream)
        if task is None or mine is None or mine.status not in BEFORE_VOTE or task.status.over:
            if mine is not None and mine.vote is not None:
                log.info("%s: told to drop it, but our vote is on the chain.", stream)
            return
        if sure or await self._given_up(task):
            with_words = {"CONSENSUS_REACHED", "CONTRIBUTION_TIMEOUT"}
            named = cause if cause in with_words else "UNKNOWN"
            log.info("%s: dropped, as the scheduler says: %s", stream, named)
            self.session.engine.record(stream, Aborted(self.session.me, named))

    async def consensus(self, stream: str, *, at_once: bool = False) -> None:
        """Wait until the scheduler has taken the consensus over. It counts the votes of those
        that have not begun to reveal: told of a reveal before, it would never see that there is
        one, and never finalize. The same holds for the end of a task that was decided and ended
        `at_once`. What we do on the chain does not wait. Raises Unavailable."""
        began = anyio.current_time()
        while stream not in self._agreed:
            seen, task = self._heard.count, self.session.engine.states.get(stream)
            if task is None or (task.status.over and not at_once):
                return
            status, _ = await self.client.fate(task.id)
            if status and status not in _UNDECIDED:
                self._agreed.add(stream)
            elif not status and anyio.current_time() > began + _PATIENCE:
                return
            else:
                await self._heard.next(seen, _AGAIN)

    async def missed(self) -> bool:
        """Whether the scheduler waits for an upload of ours that we have not heard of."""
        me = str(self.session.me)
        for stream, task in list(self.session.engine.states.items()):
            _, mine = self._mine(stream)
            if mine is None or task.status is not TaskStatus.REVEALING:
                continue
            if mine.status is Status.REVEALED:
                status, uploader = await self.client.fate(task.id)
                if status == "RESULT_UPLOADING" and uploader == me:
                    return True
        return False

    async def _given_up(self, task: Task) -> bool:
        hub = self.session.hub
        known = await hub.task(task.id)
        if known is None or known.state is TaskState.UNSET:
            return False
        if known.state is not TaskState.ACTIVE:
            return True
        if (await hub.head()).timestamp >= known.contribution_deadline:
            return True
        status, _ = await self.client.fate(task.id)
        return status in _OVER

    def _mine(self, stream: str) -> tuple[Task | None, Replicate | None]:
        task = self.session.engine.states.get(stream)
        return task, task.replicates.get(self.session.me) if task is not None else None
