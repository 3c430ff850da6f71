"""Our facts in the words of v9, task by task, each in the order in which they happened.

A v9 scheduler checks a report before it answers, which may take long, so that no task waits
for another one. It takes every status once: what is told twice it knows, and says so.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, get_args

import anyio
from anyio.abc import TaskGroup

from tallystick.engine.complaints import Complaints
from tallystick.engine.errors import Refused, Unavailable
from tallystick.engine.journal import Entry
from tallystick.lifecycle.facts import (
    Computed,
    Contributed,
    Fact,
    Failed,
    Revealed,
    WorkerFact,
)
from tallystick.lifecycle.replicate import Replicate, Status
from tallystick.lifecycle.task import fold
from tallystick.lifecycle.views import STEP_NAMES, modern
from tallystick.lifecycle.vocabulary import DONE, way
from tallystick.poco.values import TaskId
from tallystick.wire.dialect import to_update
from tallystick.wire.scheduler import ChainReceipt, StatusDetails, StatusUpdate
from tallystick.wire.v9 import UPLOAD, V9Client
from tallystick.worker.folder import TaskFolder

if TYPE_CHECKING:
    from tallystick.worker.foreign.orders import Orders
    from tallystick.worker.session import Session

log = logging.getLogger(__name__)

PAUSE: Final = 1.0
"""Seconds before a scheduler that did not take a report is told again."""
_TELLABLE: Final = get_args(WorkerFact)
_BEGUN: Final = frozenset(names[0] for names in STEP_NAMES.values())
_PROVED: Final = {Contributed: "CONTRIBUTED", Revealed: "REVEALED"}

Ready = Callable[[str], Awaitable[None]]
"""Returns when what is said about a task is heard."""


@dataclass(slots=True)
class Reports:
    """What has to be told, and who is told what at the moment."""

    session: Session
    client: V9Client
    orders: Orders
    ready: Ready
    recovering: set[str] = field(default_factory=set[str])
    """Tasks that the scheduler takes up again: none of them is told to have been begun."""
    _read: int = -1
    """Up to where the journal is in the queues, or was told; -1 before the first look."""
    _queues: dict[str, deque[Entry[Fact]]] = field(
        default_factory=dict[str, deque[Entry[Fact]]]
    )
    _last: dict[str, str] = field(default_factory=dict[str, str])
    """The last status of each task that was told."""
    _words: dict[str, str] = field(default_factory=dict[str, str])
    """What was last answered about each."""
    _complaints: Complaints = field(default_factory=lambda: Complaints(log))

    async def tell(self, told: str) -> None:
        """Tell everything past the cursor `told`, a note of the journal, until cancelled."""
        journal, changes = self.session.journal, self.session.changes
        self._read = int(journal.noted(told) or 0)
        self._queues.clear()
        looked = -1
        async with anyio.create_task_group() as tasks:
            while True:
                seen = changes.count
                self._spread(tasks)
                if self._read != looked:
                    # Whoever waits for an answer may have looked before us, and where nothing
                    # is left to tell nothing else wakes it.
                    looked = self._read
                    changes.beat()
                waiting = [queue[0].seq - 1 for queue in self._queues.values()]
                settled = min([self._read, *waiting])
                if settled != int(journal.noted(told) or 0):
                    journal.note(told, str(settled))
                if not waiting and changes.count == seen:
                    await self.session.told_all(seen)
                await changes.next(seen)

    def _spread(self, tasks: TaskGroup) -> None:
        for entry in list(self.session.journal.read(self._read)):
            self._read = max(self._read, entry.seq)
            if not self._is_ours(entry.fact):
                continue
            if entry.stream not in self._queues:
                self._queues[entry.stream] = deque()
                tasks.start_soon(self._work_off, entry.stream)
            self._queues[entry.stream].append(entry)

    def _is_ours(self, fact: Fact) -> bool:
        ours = isinstance(fact, (*_TELLABLE, Contributed, Revealed))
        return ours and getattr(fact, "worker", None) == self.session.me

    async def _work_off(self, stream: str) -> None:
        queue, what = self._queues[stream], f"Reports of {stream}"
        while queue:
            try:
                await self._tell_one(queue[0])
            except (Unavailable, Refused) as trouble:
                self._complaints.about(what, trouble)
                self.session.contact.met(trouble)
                await anyio.sleep(PAUSE)
                continue
            self._complaints.over(what)
            queue.popleft()
        del self._queues[stream]
        self.session.changes.beat()

    async def _tell_one(self, entry: Entry[Fact]) -> None:
        for update in self._updates(entry):
            if update.status == "STARTING":
                if entry.stream in self.recovering:
                    continue
                await self.ready(entry.stream)
            elif update.status in ("REVEALING", "REVEALED"):
                await self.orders.consensus(entry.stream)
            elif update.status == "COMPLETING" and self._is_alone(entry.stream):
                await self.orders.consensus(entry.stream, at_once=True)
            await self._send(entry.stream, update)

    def _updates(self, entry: Entry[Fact]) -> Iterator[StatusUpdate]:
        """The report of a fact, after those that v9 wants before it."""
        update = self._update(entry)
        if update is None:
            return
        before = self._last.get(entry.stream) or self._told_before(entry)
        if update.status == before and update.status in _BEGUN:
            return  # one step of theirs, two of ours
        for name in way("modern", before, update.status) or ():
            if name in _BEGUN:
                yield StatusUpdate(status=name)
        yield update

    def _update(self, entry: Entry[Fact]) -> StatusUpdate | None:
        fact, mine = entry.fact, self._mine(entry.stream)
        alone = self._is_alone(entry.stream)
        if isinstance(fact, Contributed | Revealed):
            if alone and isinstance(fact, Revealed):
                return None  # in the same transaction
            status = DONE if alone else _PROVED[type(fact)]
            return StatusUpdate(status=status, details=_proof(entry, mine if alone else None))
        assert isinstance(fact, _TELLABLE)
        logs = None
        if isinstance(fact, Computed) or (
            isinstance(fact, Failed) and fact.cause == "APP_COMPUTE_FAILED"
        ):
            logs = TaskFolder(self.session.config.home, TaskId(entry.stream)).logs()
        return to_update(fact, logs, alone=alone)

    def _told_before(self, entry: Entry[Fact]) -> str:
        earlier = self.session.journal.read(stream=entry.stream)
        task = fold([each.fact for each in earlier if each.seq < entry.seq])
        mine = task.replicates.get(self.session.me) if task is not None else None
        return modern(mine) if mine is not None else "CREATED"

    async def _send(self, stream: str, update: StatusUpdate) -> None:
        answer = await self.client.report(TaskId(stream), update)
        self._last[stream], self._words[stream] = update.status, answer.word
        if answer.word == UPLOAD:
            self.orders.upload(stream)
        if not answer.refused or update.status == "ABORTED":
            return
        log.info("%s: the scheduler does not take %s: %s", stream, update.status, answer.word)
        await self.orders.abort(stream, "UNKNOWN", sure=True)
        mine = self._mine(stream)
        if mine is not None and mine.status is Status.FAILED:
            # Whoever is told to drop what it cannot go on with says that it has.
            gone = StatusUpdate(status="ABORTED", details=StatusDetails(cause="UNKNOWN"))
            await self.client.report(TaskId(stream), gone)
            self._last[stream] = "ABORTED"

    async def answer(self, stream: str) -> str:
        """What the scheduler answered to all that there is to tell of a task, once it did;
        empty when that was in an earlier life of this process."""
        changes, journal = self.session.changes, self.session.journal
        last = max((entry.seq for entry in journal.read(stream=stream)), default=0)
        while self._read < last or stream in self._queues:
            await changes.next(changes.count)
        return self._words.get(stream, "")

    def _is_alone(self, stream: str) -> bool:
        mine = self._mine(stream)
        return mine is not None and mine.alone

    def _mine(self, stream: str) -> Replicate | None:
        task = self.session.engine.states.get(stream)
        return task.replicates.get(self.session.me) if task is not None else None


def _proof(entry: Entry[Fact], finished: Replicate | None) -> StatusDetails:
    """Where a fact of the chain stands; with what was `finished` at once, its result too."""
    ref = entry.ref
    mined = ChainReceipt(block_number=ref.block, tx_hash=ref.tx or "") if ref else None
    result = finished.published if finished is not None else None
    return StatusDetails(
        chain_receipt=mined,
        result_link=result.link if result else None,
        chain_callback_data=(result.callback or None) if result else None,
    )
