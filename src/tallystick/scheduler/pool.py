"""One pool at work: its tasks, its workers, and what each is told."""

from __future__ import annotations

import secrets
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import anyio

from tallystick.chain.hub import Hub
from tallystick.chain.wallet import Wallet
from tallystick.engine.clock import ChainClock
from tallystick.engine.engine import Engine
from tallystick.engine.journal import Entry
from tallystick.engine.pulse import Pulse
from tallystick.lifecycle.agenda import PoolCommand, overdue, owed_by_pool
from tallystick.lifecycle.facts import (
    Assigned,
    Fact,
    Finalized,
    Initialized,
    Lost,
    Recovering,
    UploadRequested,
)
from tallystick.lifecycle.pool import NoWork, busy_slots, task_for, why_none
from tallystick.lifecycle.replicate import OVER
from tallystick.lifecycle.task import Task, TaskStatus, advance, fold
from tallystick.lifecycle.views import modern
from tallystick.poco.contribution import authorization_hash, weight
from tallystick.poco.values import Address, Signature
from tallystick.scheduler.roster import Roster
from tallystick.wire.authorization import SignatureBody, WorkerpoolAuthorization
from tallystick.wire.scheduler import PoolNews

PoolEngine = Engine[Task, Fact, PoolCommand]
News = Assigned | UploadRequested


@dataclass(frozen=True, slots=True)
class PoolRules:
    """The scheduler's side of the lifecycle."""

    clock: ChainClock

    def fold(self, facts: Iterable[Fact]) -> Task | None:
        """The task that `facts` tell of."""
        return fold(facts)

    def advance(self, task: Task | None, fact: Fact) -> Task:
        """The task after `fact`."""
        return advance(task, fact)

    def agenda(self, task: Task) -> Iterator[PoolCommand]:
        """What is due, by the chain's clock; nothing while the chain was never seen."""
        return owed_by_pool(task, self.clock.now()) if self.clock.known else iter(())

    def begins(self, task: Task, command: PoolCommand) -> Fact | None:
        """The scheduler does not tell what it begins: the chain will show it."""
        return None


class Pool:
    """What the scheduler's routes and steps share."""

    def __init__(
        self,
        *,
        engine: PoolEngine,
        roster: Roster,
        wallet: Wallet,
        hub: Hub,
        clock: ChainClock,
        history: Iterable[Entry[Fact]],
    ) -> None:
        self.engine, self.roster, self.wallet = engine, roster, wallet
        self.hub, self.clock, self.changes = hub, clock, Pulse()
        self.instance = secrets.token_hex(8)
        """Names this process: cursors into its news are good for it alone."""
        self._scores: dict[Address, int] = {}
        self._news: dict[Address, list[Entry[Fact]]] = defaultdict(list)
        self._births: dict[str, int] = {}
        self._had: dict[tuple[str, Address], set[str]] = {}
        for entry in history:
            self._keep(entry)
        engine.listen(self._heard)

    def tasks(self) -> Iterable[Task]:
        """Every task this pool knows."""
        return self.engine.states.values()

    def open_tasks(self) -> Iterator[Task]:
        """Tasks that may be contributed to."""
        return (task for task in self.tasks() if task.status is TaskStatus.ACTIVE)

    async def demand(
        self, worker: Address, patience: float, instance: str = ""
    ) -> WorkerpoolAuthorization | None:
        """A replicate for `worker` as soon as a task wants one, within `patience` seconds;
        none when another instance has taken over its wallet meanwhile."""
        asked, ends = time.time(), anyio.current_time() + patience
        await self._score(worker)
        while True:
            seen = self.changes.count
            if (task := self._fitting(worker)) is not None:
                power = weight(await self._score(worker))
                still = self.roster.speaks(worker, instance)
                if still and self._fitting(worker) == task:
                    return self._assign(task, worker, power, asked)
            superseded = not self.roster.speaks(worker, instance)
            if superseded or self.changes.closed or anyio.current_time() >= ends:
                return None
            await self.changes.next(seen, ends - anyio.current_time())

    def why_none(self, worker: Address) -> NoWork:
        """Why `worker` is given no replicate now."""
        model = self.roster.model(worker)
        if model is None:
            return NoWork.NOT_REGISTERED
        return why_none(worker, self.open_tasks(), model.slots)

    def news(self, worker: Address, after: int) -> list[PoolNews]:
        """What was decided about `worker` past the cursor and still matters."""
        told = self._news.get(worker, [])
        fresh = told[bisect_right(told, after, key=lambda entry: entry.seq) :]
        return [
            self._news_of(entry, task)
            for entry in fresh
            if (task := self.engine.states.get(entry.stream)) is not None
            and not task.status.over
        ]

    async def wait_for_news(
        self, worker: Address, after: int, patience: float, instance: str = ""
    ) -> list[PoolNews]:
        """`news`, as soon as there are any, within `patience` seconds, or until another
        instance takes over the wallet."""
        ends = anyio.current_time() + patience
        while True:
            seen = self.changes.count
            news = self.news(worker, after)
            superseded = not self.roster.speaks(worker, instance)
            if news or superseded or self.changes.closed or anyio.current_time() >= ends:
                return news
            await self.changes.next(seen, ends - anyio.current_time())

    def authorization(self, task: Task, worker: Address) -> WorkerpoolAuthorization:
        """The permission of `worker` to contribute to `task`; asked again, it is the same."""
        signature = self.wallet.sign_message(authorization_hash(worker, task.id))
        return WorkerpoolAuthorization(
            chain_task_id=task.id,
            deal_id=task.deal.id,
            task_index=task.index,
            worker_wallet=worker,
            signature=SignatureBody(value=Signature(signature)),
        )

    def mark_lost(self, silence: float) -> None:
        """Note that the replicates of workers not heard for `silence` seconds are lost."""
        for worker in list(self.roster.silent(silence)):
            self._mark(worker, Lost(worker))

    def mark_overdue(self) -> None:
        """Note who did not reveal, or did not upload, in time."""
        if not self.clock.known:
            return
        for task in list(self.tasks()):
            for fact in overdue(task, self.clock.now()):
                self.engine.record(str(task.id), fact)

    def welcome_back(self, worker: Address) -> None:
        """Note that a worker which started again takes up its replicates."""
        self._mark(worker, Recovering(worker))

    def statuses_had(
        self, task: Task, worker: Address, told: Callable[[], Iterable[str]]
    ) -> set[str]:
        """Every v9 status that the replicate of `worker` ever had; `told` knows them from the
        journal, and is asked once."""
        key = (str(task.id), worker)
        if key not in self._had:
            self._had[key] = set(told())
        return self._had[key]

    def birth_block(self, task: Task) -> int:
        """Where on the chain the task was opened, for whoever wants to read its story."""
        return self._births.get(str(task.id), 0)

    def _fitting(self, worker: Address) -> Task | None:
        model = self.roster.model(worker)
        open_tasks = list(self.open_tasks())
        if model is None or busy_slots(worker, open_tasks) >= model.slots:
            return None
        return task_for(worker, open_tasks, self.clock.now())

    async def _score(self, worker: Address) -> int:
        if worker not in self._scores:
            self._scores[worker] = await self.hub.score(worker)
        return self._scores[worker]

    def _assign(
        self, task: Task, worker: Address, power: int, asked: float
    ) -> WorkerpoolAuthorization:
        permission = self.authorization(task, worker)
        stream, due = str(task.id), max(asked, self.engine.changed(str(task.id)))
        self.engine.record(stream, Assigned(worker, power, permission.signature.value))
        self.engine.acted("assign", stream, due)
        return permission

    def _mark(self, worker: Address, fact: Lost | Recovering) -> None:
        for task in list(self.tasks()):
            mine = task.replicates.get(worker)
            if task.status.over or mine is None or mine.status in OVER or mine.away == fact:
                continue
            self.engine.record(str(task.id), fact)

    def _heard(self, entry: Entry[Fact]) -> None:
        self._keep(entry)
        self._remember_status(entry)
        self.changes.beat()

    def _remember_status(self, entry: Entry[Fact]) -> None:
        task = self.engine.states.get(entry.stream)
        worker: Address | None = getattr(entry.fact, "worker", None)
        if task is None or worker is None or (entry.stream, worker) not in self._had:
            return
        self._had[entry.stream, worker].add(modern(task.replicates[worker]))
        if task.status.over:
            del self._had[entry.stream, worker]

    def _keep(self, entry: Entry[Fact]) -> None:
        match entry.fact:
            case Assigned(worker=worker) | UploadRequested(worker=worker):
                self._news[worker].append(entry)
            case Initialized() if entry.ref is not None:
                self._births[entry.stream] = entry.ref.block
            case Finalized() if self._scored(entry.stream):
                self._scores.clear()
            case _:
                return

    def _scored(self, stream: str) -> bool:
        """Whether the end of this task changed scores: only where several have voted."""
        task = self.engine.states.get(stream)
        return task is None or sum(r.vote is not None for r in task.replicates.values()) > 1

    def _news_of(self, entry: Entry[Fact], task: Task) -> PoolNews:
        match entry.fact:
            case Assigned(worker=worker, weight=power):
                return PoolNews(
                    seq=entry.seq,
                    chain_task_id=task.id,
                    kind="Assigned",
                    weight=power,
                    authorization=self.authorization(task, worker),
                    from_block=self.birth_block(task),
                )
            case UploadRequested(worker=worker, deadline=deadline):
                self.engine.acted("request upload", entry.stream, entry.at)
                return PoolNews(
                    seq=entry.seq,
                    chain_task_id=task.id,
                    kind="UploadRequested",
                    deadline=deadline,
                )
            case other:
                raise AssertionError(f"{other} is no news for a worker")
