"""A worker and a scheduler, put together of what is shipped. Only their edges are simulated."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, get_args

import anyio
from anyio.abc import TaskGroup
from fastapi import Response
from pydantic import ValidationError

from tallystick.chain.abi import topic
from tallystick.chain.contracts import SCHEDULER_NOTICE
from tallystick.chain.follow import Follower, NoteCursor
from tallystick.chain.heads import Heads
from tallystick.chain.hub import Hub
from tallystick.chain.logs import TASK_TOPICS
from tallystick.chain.records import Registries
from tallystick.chain.sender import Sender
from tallystick.chain.wallet import Wallet
from tallystick.chain.watcher import Watcher
from tallystick.engine.clock import ChainClock
from tallystick.engine.engine import Engine
from tallystick.engine.errors import Unavailable
from tallystick.engine.journal import Journal
from tallystick.lifecycle.agenda import Do, PoolCommand
from tallystick.lifecycle.facts import Fact, Step
from tallystick.poco.orders import Domain
from tallystick.poco.values import ZERO_ADDRESS, Address, TaskId
from tallystick.scheduler import api
from tallystick.scheduler.admission import Admission
from tallystick.scheduler.config import SchedulerConfig
from tallystick.scheduler.deals import births
from tallystick.scheduler.inside import PoolEngine
from tallystick.scheduler.logs import LogBook
from tallystick.scheduler.pool import Pool, PoolRules
from tallystick.scheduler.roster import Roster, WalletTaken
from tallystick.scheduler.steps import PoolSteps
from tallystick.scheduler.story import tell
from tallystick.scheduler.uploads import Uploads
from tallystick.sim.market import DOMAIN, POOL
from tallystick.sim.odds import Character
from tallystick.sim.whole.audits import Terms
from tallystick.sim.whole.edges import Caller, Letter, Line, Machine, Reply, Store, Weather
from tallystick.sim.whole.life import LIFE, Life
from tallystick.sim.whole.requests import request_of
from tallystick.wire.scheduler import ChainConfig, PublicConfig, StatusUpdate, WorkerModel
from tallystick.worker.compute import Computer
from tallystick.worker.config import WorkerConfig
from tallystick.worker.journal_gate import JournalGate
from tallystick.worker.money import Money
from tallystick.worker.room import Room
from tallystick.worker.session import Session, WorkerEngine
from tallystick.worker.steps import WorkerRules, WorkerSteps
from tallystick.worker.supplies import Supplies

if TYPE_CHECKING:
    from tallystick.sim.whole.node import Node

TOKEN: Final = Address(b"\xdd" * 20)
CHAIN_ID: Final = DOMAIN.chain_id
LOST_AFTER: Final = 30.0
_CHECKS: Final = 5.0


def _now() -> float:
    return time.monotonic()


def hub_on(rpc: Line) -> Hub:
    """The hub that everybody works with."""
    nowhere = Registries(ZERO_ADDRESS, ZERO_ADDRESS, ZERO_ADDRESS)
    return Hub(rpc, Domain(CHAIN_ID, DOMAIN.hub), TOKEN, nowhere)


@dataclass(slots=True)
class Around:
    """Everything that a process finds when it starts."""

    life: Life
    home: Path
    wallet: Wallet
    nodes: Mapping[str, Node]
    weather: Weather
    stored: dict[TaskId, str]
    told: Callable[[object], None]
    """Receives every fact, for the story."""


class WorkerProcess:
    """One life of a worker."""

    def __init__(
        self, around: Around, machine: Machine, caller: Caller, config: WorkerConfig
    ) -> None:
        self.around, self.me = around, around.wallet.address
        self._shy = machine.character is Character.SHY
        config.home.mkdir(parents=True, exist_ok=True)
        rpc = Line(around.life, around.nodes, around.weather)
        hub = hub_on(rpc)
        self.journal = Journal[Fact](config.home / "journal.db", get_args(Fact))
        self.heads, self.clock = Heads(rpc, poll=1.0), ChainClock(elapsed=_now)
        self.money = Money.open(
            config, around.wallet, hub, heads=self.heads, journal=self.journal
        )
        room = Room(config, free=lambda folder: 0 if around.life.full else 1 << 40, clock=_now)
        self.steps = self._steps(hub, machine, config, room)
        rules = WorkerRules(self.me, self.clock)
        self.engine: WorkerEngine = Engine(
            journal=self.journal, rules=rules, perform=self._perform
        )
        self.steps.states = self.engine.states
        self.engine.listen(lambda entry: around.told(entry.fact))
        watcher = self._watcher(rpc, hub)
        self.follower = Follower(hub=hub, watcher=watcher, engine=self.engine, clock=self.clock)
        self.session = Session(
            self.me, config, caller, hub, self.engine, self.journal, self.follower
        )
        self.follower.moved = self.session.refresh_deals
        self.session.gates += [JournalGate(self.journal), room]
        self.money.attend(self.session)
        watcher.calm = self.money.sender.calm = self._calm
        self.engine.listen(lambda entry: watcher.wake())
        self.engine.listen(lambda entry: self.money.sender.wake())

    def _steps(
        self, hub: Hub, machine: Machine, config: WorkerConfig, room: Room
    ) -> WorkerSteps:
        return WorkerSteps(
            me=self.me,
            hub=hub,
            votes=self.money.votes,
            supplies=Supplies(hub, machine, config),
            computer=Computer(self.me, config, machine),
            store=Store(self.around.life, self.around.stored, self.around.weather),
            sign=self.around.wallet.sign_message,
            clock=self.clock,
            room=room,
        )

    def _watcher(self, rpc: Line, hub: Hub) -> Watcher:
        return Watcher(
            rpc,
            address=hub.address,
            topics=TASK_TOPICS,
            cursor=NoteCursor(self.journal),
            start=self._first(self.around),
            heads=self.heads,
        )

    def _first(self, around: Around) -> int:
        node = next(iter(around.nodes.values()))
        return int(node.answer("eth_blockNumber", ()), 16)

    def _calm(self) -> bool:
        return all(task.status.over for task in self.engine.states.values())

    async def _perform(self, command: Any) -> Fact | None:
        """The shipped step; who votes and never reveals leaves one out."""
        if self._shy and isinstance(command, Do) and command.step is Step.REVEAL:
            await anyio.sleep_forever()
        return await self.steps.perform(command)

    async def run(self) -> None:
        """Work until cancelled, or killed."""
        async with anyio.create_task_group() as tasks:
            for service in (
                self.heads.run,
                self.money.sender.run,
                self.money.funds.run,
                self.follower.run,
            ):
                tasks.start_soon(service)
            async with self.engine.working():
                await self.session.register()
                await self.session.run()

    def bury(self) -> None:
        """Let go of the files without a word to them."""
        _close(self.journal, self.money._pledges, self.money.sender._book._shelf)


class SchedulerProcess:
    """One life of a scheduler."""

    def __init__(
        self, around: Around, terms: Terms, begins: Callable[[PoolCommand], None]
    ) -> None:
        """`begins` receives all that it is about to do."""
        self.around, self.me = around, around.wallet.address
        self._begins = begins
        around.home.mkdir(parents=True, exist_ok=True)
        rpc = Line(around.life, around.nodes, around.weather)
        self.hub = hub_on(rpc)
        self.journal = Journal[Fact](around.home / "journal.db", get_args(Fact))
        self.heads, self.clock = Heads(rpc, poll=1.0), ChainClock(elapsed=_now)
        self.sender = Sender(
            rpc,
            around.wallet,
            around.home / "transactions.db",
            chain_id=CHAIN_ID,
            heads=self.heads,
        )
        self.steps = PoolSteps(self.hub, self.sender, self.clock)
        self.engine: PoolEngine = Engine(
            journal=self.journal, rules=PoolRules(self.clock), perform=self._perform
        )
        self.engine.listen(lambda entry: around.told(entry.fact))
        self.follower = self._follower(rpc)
        self.pool = Pool(
            engine=self.engine,
            roster=Roster(self.journal, clock=_now),
            wallet=around.wallet,
            hub=self.hub,
            clock=self.clock,
            history=self.journal.read(),
        )
        self.pool.giving.unstaked = True
        self.pool.audits._draw = terms.random.random
        self.pool.audits.open(self.journal, terms.policy, terms.auditors)
        self.steps.authorize = self.pool.authorize
        self.desk = self._desk()
        self._serving: TaskGroup | None = None

    async def _perform(self, command: PoolCommand) -> Fact | None:
        self._begins(command)
        return await self.steps.perform(command)

    def _follower(self, rpc: Line) -> Follower:
        watcher = Watcher(
            rpc,
            address=self.hub.address,
            topics=(topic(SCHEDULER_NOTICE), *TASK_TOPICS),
            cursor=NoteCursor(self.journal),
            heads=self.heads,
        )
        born = births(self.hub, POOL, self.engine.record)
        return Follower(
            hub=self.hub, watcher=watcher, engine=self.engine, clock=self.clock, births=born
        )

    def _desk(self) -> Any:
        """What the shipped routes need, without tokens and figures."""
        around = self.around
        config = SchedulerConfig(
            data_dir=around.home,
            rpc_urls=tuple(around.nodes),
            hub=self.hub.address,
            workerpool=POOL,
            wallet=around.home / "wallet",
            password_file=around.home / "password",
            results_url="http://127.0.0.1:2",
        )
        self._logs = LogBook(around.home / "logs.db")
        store = Store(around.life, around.stored, around.weather)
        return SimpleNamespace(
            pool=self.pool,
            config=PublicConfig(
                worker_pool_address=POOL,
                scheduler_public_address=self.me,
                config_server_url="",
                resultRepositoryURL="http://127.0.0.1:2",
            ),
            chain=ChainConfig(
                chain_id=CHAIN_ID,
                chain_node_url="",
                iexec_hub_contract_address=self.hub.address,
            ),
            admission=Admission(self.journal, config, self.me),
            logs=self._logs,
            history=lambda task: tell(self.journal.read(stream=str(task))),
            is_uploaded=Uploads(self.engine.states, store).has,
            pushes=SimpleNamespace(left=lambda stream, asked: None),
        )

    async def run(self) -> None:
        """Serve until cancelled, or killed."""
        async with anyio.create_task_group() as tasks:
            self._serving = tasks
            for service in (
                self.heads.run,
                self.sender.run,
                self.follower.run,
                self._watch_workers,
                self._watch_deadlines,
            ):
                tasks.start_soon(service)
            async with self.engine.working():
                await anyio.sleep_forever()

    async def _watch_workers(self) -> None:
        while True:
            await anyio.sleep(_CHECKS)
            try:
                self.pool.mark_lost(LOST_AFTER)
            except Unavailable:
                continue

    async def _watch_deadlines(self) -> None:
        seen = 0
        while True:
            seen = await self.heads.change(seen, within=_CHECKS)
            try:
                self.pool.mark_overdue()
            except Unavailable:
                continue

    async def deliver(self, letter: Letter) -> Reply:
        """Answer a request, as a task of this process. Raises Unavailable when it dies."""
        life, done = self.around.life, anyio.Event()
        answers: list[Reply] = []
        if self._serving is None or not life.alive:
            raise Unavailable("The scheduler is away.")
        gone = anyio.Event()
        life.on_death.append(done.set)

        async def answer() -> None:
            LIFE.set(life)
            try:
                life.require_alive()
                answers.append(await self._answer(letter, gone))
                if letter.verb == "POST":
                    life.point(f"after answering {letter.path.rsplit('/', 1)[-1]}")
            finally:
                done.set()

        self._serving.start_soon(answer)
        try:
            await done.wait()
        finally:
            gone.set()
            life.on_death.remove(done.set)
        if not answers or not life.alive:
            raise Unavailable("The scheduler died before it had answered.")
        return answers[0]

    async def _answer(self, letter: Letter, gone: anyio.Event) -> Reply:
        try:
            response = await self._route(letter, gone)
        except WalletTaken as taken:
            return Reply(409, str(taken).encode())
        except Unavailable as trouble:
            return Reply(503, str(trouble).encode())
        except ValidationError as mistakes:
            return Reply(400, str(mistakes).encode())
        return Reply(response.status_code, bytes(response.body), dict(response.headers))

    async def _route(self, letter: Letter, gone: anyio.Event) -> Response:
        """The shipped handlers, with what FastAPI would have read for them."""
        desk, me, params = self.desk, letter.sender, letter.params
        request = request_of(letter, desk, gone)
        if letter.path == "/workers/register":
            body = WorkerModel.model_validate_json(letter.content)
            takeover = bool(params.get("takeover"))
            return await api._register(
                request, desk, me, body, instance=letter.instance, takeover=takeover
            )
        self.pool.roster.require_current(me, letter.instance)
        self.pool.roster.heard(me)
        match letter.path.split("/")[1:]:
            case ["workers", "ping"]:
                return await api.ping(desk, me)
            case ["workers", "leave"]:
                return await api._leave(desk, me)
            case ["replicates", "available"]:
                wait = float(params["wait"])
                return await api.available(request, desk, me, params["blockNumber"], wait)
            case ["replicates", "facts"]:
                after, of, wait = params["after"], params["of"], float(params["wait"])
                return await api.facts(request, desk, me, after=after, of=of, wait=wait)
            case ["replicates", task, "updateStatus"]:
                update = StatusUpdate.model_validate_json(letter.content)
                return await api._update(request, desk, me, TaskId(task), update)
            case _:
                return Response(status_code=404)

    def bury(self) -> None:
        """Let go of the files without a word to them."""
        _close(self.journal, self._logs, self.sender._book._shelf)


def _close(*files: Any) -> None:
    for each in files:
        each._db.close()
