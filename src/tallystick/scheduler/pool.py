"""One pool at work: its tasks, its workers, and what each is told."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from tallystick.chain.hub import Hub
from tallystick.chain.wallet import Wallet
from tallystick.engine.bells import HangUp
from tallystick.engine.clock import ChainClock
from tallystick.engine.journal import Entry
from tallystick.engine.pulse import Pulse
from tallystick.lifecycle.agenda import PoolCommand, overdue, owed_by_pool
from tallystick.lifecycle.audit import Authorize
from tallystick.lifecycle.facts import (
    Assigned,
    Audited,
    Authorized,
    Fact,
    Initialized,
    Lost,
    Recovering,
)
from tallystick.lifecycle.fitness import NoWork
from tallystick.lifecycle.openings import Openings
from tallystick.lifecycle.replicate import OVER, Status
from tallystick.lifecycle.task import Task, TaskStatus, advance, fold
from tallystick.lifecycle.views import modern
from tallystick.poco.contribution import authorization_hash
from tallystick.poco.values import Address, Signature, TaskId
from tallystick.scheduler.audits import Audits
from tallystick.scheduler.giving import Elsewhere, Giving
from tallystick.scheduler.news import News
from tallystick.scheduler.roster import Roster
from tallystick.wire.authorization import UNSIGNED, SignatureBody, WorkerpoolAuthorization
from tallystick.wire.news import PoolNews

if TYPE_CHECKING:
    from tallystick.scheduler.inside import PoolEngine


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
        self.hub, self.clock, self.changes = hub, clock, Pulse(self._let_go)
        self.instance = secrets.token_hex(8)
        """Names this process: cursors into its news are good for it alone."""
        self.openings = Openings()
        for stream, task in engine.states.items():
            self.openings.tell(TaskId(stream), task)
        self.audits = Audits(roster)
        self.giving = Giving(self)
        self._news = News(self)
        self._births: dict[str, int] = {}
        self._had: dict[tuple[str, Address], set[str]] = {}
        self._unanswered: dict[tuple[str, Address], float] = {}
        """Replicates of which nothing was heard yet, and since when."""
        for entry in history:
            self._keep(entry)
        engine.watch(self._changed)
        engine.listen(self._heard)

    def tasks(self) -> Iterable[Task]:
        """Every task this pool knows."""
        return self.engine.states.values()

    def open_tasks(self) -> Iterator[Task]:
        """Tasks that may be contributed to."""
        return (task for task in self.openings.live() if task.status is TaskStatus.ACTIVE)

    async def demand(
        self,
        worker: Address,
        patience: float,
        instance: str = "",
        hung_up: HangUp = anyio.sleep_forever,
    ) -> WorkerpoolAuthorization | None:
        """A replicate for `worker` as soon as a task wants one, within `patience` seconds;
        none when it has `hung_up`, or when another instance has taken over its wallet."""
        return await self.giving.demand(worker, patience, instance, hung_up)

    def why_none(self, worker: Address, instance: str = "") -> NoWork:
        """Why `worker` is given no replicate now."""
        return self.giving.why_none(worker, instance)

    def news(self, worker: Address, after: int) -> list[PoolNews]:
        """What was decided about `worker` past the cursor and still matters."""
        return self._news.past(worker, after)

    async def wait_for_news(
        self,
        worker: Address,
        after: int,
        patience: float,
        instance: str = "",
        *,
        hung_up: HangUp = anyio.sleep_forever,
    ) -> list[PoolNews]:
        """`news`, as soon as there are any, within `patience` seconds, or until another
        instance takes over the wallet."""
        ends = anyio.current_time() + patience
        while True:
            news = self.news(worker, after)
            superseded = not self.roster.speaks(worker, instance)
            if news or superseded or self.changes.closed or anyio.current_time() >= ends:
                return news
            if not await self._news.bells.wait(worker, ends, hung_up):
                return []

    def authorization(
        self, task: Task, worker: Address, known: Signature | None = None
    ) -> WorkerpoolAuthorization:
        """The permission of `worker` to contribute to `task`; asked again, it is the same. It
        is not signed while the worker has to hand in its digest first."""
        mine = task.replicates.get(worker)
        if known is None and mine and mine.digest_first:
            known = mine.authorization or UNSIGNED
        signature = known or Signature(
            self.wallet.sign_message(authorization_hash(worker, task.id))
        )
        return WorkerpoolAuthorization(
            chain_task_id=task.id,
            deal_id=task.deal.id,
            task_index=task.index,
            worker_wallet=worker,
            signature=SignatureBody(value=signature),
        )

    def authorize(self, command: Authorize) -> Fact:
        """Let a worker vote for what it has handed in, unless an audit has found a wrong result
        of it meanwhile."""
        task = self.engine.states[str(command.task)]
        worker, terms = command.worker, task.replicates[command.worker].scrutiny
        if self.audits.distrusts(worker):
            return Audited(
                worker, agreed=False, owner=terms.owner if terms else "", counts=False
            )
        digest = authorization_hash(worker, task.id)
        return Authorized(worker, Signature(self.wallet.sign_message(digest)))

    def mark_lost(self, silence: float) -> None:
        """Note that the replicates of workers not heard for `silence` seconds are lost, and
        those that nobody began though their worker is there: others compute instead."""
        for worker in list(self.roster.silent(silence)):
            self._mark(worker, Lost(worker))
        oldest = time.monotonic() - 2 * silence
        for (stream, worker), since in list(self._unanswered.items()):
            if since > oldest:
                break
            del self._unanswered[stream, worker]
            task = self.engine.states.get(stream)
            if task and self._waits_for(task, worker) and self.engine.owns(stream):
                self.engine.record(stream, Lost(worker))

    def mark_overdue(self) -> None:
        """Note who did not reveal, or did not upload, in time. Called with every block: who was
        short of money may have some now."""
        self.giving.look_again()
        if not self.clock.known:
            return
        for task in self.openings.live():
            if task.status is TaskStatus.REVEALING and self.engine.owns(str(task.id)):
                for fact in overdue(task, self.clock.now()):
                    self.engine.record(str(task.id), fact)

    def welcome_back(self, worker: Address) -> None:
        """Note that a worker which started again takes up its replicates. What is held open for
        one that it takes over from ends now."""
        self._mark(worker, Recovering(worker))
        self.ring(worker)

    def ring(self, worker: Address) -> None:
        """What is held open for `worker` is to be looked at again."""
        self.giving.line.ring(worker)
        self._news.bells.ring(worker)

    def share(self, news: str, elsewhere: Elsewhere) -> None:
        """Several processes are this pool: cursors into the news that are called `news` are
        good at each of them, and `elsewhere` gives away what they own."""
        self.instance, self.giving.elsewhere = news, elsewhere
        self._news.shared = True

    async def assign(
        self, task: TaskId, worker: Address, instance: str
    ) -> WorkerpoolAuthorization | None:
        """Give a task of ours to a worker that waits at another process, if it may have it."""
        return await self.giving.assign(task, worker, instance)

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

    def _let_go(self) -> None:
        self.giving.line.close()
        self._news.bells.close()

    def _mark(self, worker: Address, fact: Lost | Recovering) -> None:
        for task in self.openings.held_by(worker):
            mine = task.replicates[worker]
            if mine.status in OVER or mine.away == fact:
                continue
            if self.engine.owns(str(task.id)):
                self.engine.record(str(task.id), fact)

    def _waits_for(self, task: Task, worker: Address) -> bool:
        """Whether the worker has a replicate of the task, and never said a word about it."""
        mine = task.replicates.get(worker)
        return (
            task.status is TaskStatus.ACTIVE
            and mine is not None
            and mine.status is Status.ASSIGNED
            and mine.doing is None
            and mine.away is None
        )

    def _changed(self, stream: str) -> None:
        """The state of a task is another one: by a fact, or because the chain went back."""
        self.giving.tell(TaskId(stream), self.engine.states.get(stream))

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
        self._news.keep(entry)
        self.audits.keep(entry, self.engine.states.get(entry.stream))
        match entry.fact:
            case Initialized() if entry.ref is not None:
                self._births[entry.stream] = entry.ref.block
            case Assigned(worker=worker):
                task = self.engine.states.get(entry.stream)
                if task and self._waits_for(task, worker):
                    self._unanswered[entry.stream, worker] = time.monotonic()
            case _:
                return
