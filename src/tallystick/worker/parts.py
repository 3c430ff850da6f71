"""What a running worker consists of: builds the parts and hands them to each other."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

from tallystick.chain.follow import Follower, NoteCursor
from tallystick.chain.heads import Heads
from tallystick.chain.hub import Hub
from tallystick.chain.known_keys import require_private
from tallystick.chain.logs import TASK_TOPICS
from tallystick.chain.rpc import Rpc
from tallystick.chain.sender import Sender
from tallystick.chain.wallet import Wallet
from tallystick.chain.watcher import Watcher
from tallystick.engine.clock import ChainClock
from tallystick.engine.engine import Engine
from tallystick.engine.journal import Journal
from tallystick.execution.executor import Executor
from tallystick.lifecycle.facts import Fact
from tallystick.wire.results import ResultsClient
from tallystick.wire.scheduler import ChainConfig, PublicConfig, SchedulerClient
from tallystick.worker.accountant import Accountant, accountant_of
from tallystick.worker.compute import Computer
from tallystick.worker.config import WorkerConfig
from tallystick.worker.drain import Helm
from tallystick.worker.exclusive import Successor, instance_of
from tallystick.worker.gate import Gate
from tallystick.worker.introduction import hub_of, introduction
from tallystick.worker.journal_gate import JournalGate
from tallystick.worker.money import Money
from tallystick.worker.networks import Networks
from tallystick.worker.policing import PolicyFile, attend
from tallystick.worker.room import Room
from tallystick.worker.session import Session, WorkerEngine, ended_folders
from tallystick.worker.steps import WorkerRules, WorkerSteps
from tallystick.worker.supplies import Supplies


@dataclass(slots=True)
class Parts:
    """What a running worker consists of."""

    session: Session
    heads: Heads
    money: Money
    follower: Follower
    engine: WorkerEngine
    helm: Helm
    policies: PolicyFile
    accountant: Accountant

    @property
    def services(self) -> tuple[Callable[[], Coroutine[Any, Any, None]], ...]:
        """What runs as long as the worker does."""
        money = self.money
        return (
            self.heads.run,
            money.sender.run,
            money.funds.run,
            self.follower.run,
            self.accountant.run,
        )


async def build(
    config: WorkerConfig,
    wallet: Wallet,
    executor: Executor,
    stack: AsyncExitStack,
    *,
    foreign: type[Session] = Session,
) -> Parts:
    """Open journal, connections and money of the worker, until `stack` ends; a session of kind
    `foreign` with a scheduler that is not ours. Raises Refused for a pool or a hub that is not
    the one that is meant."""
    client = await stack.enter_async_context(_client(config, wallet))
    journal = _journal(config, stack)
    pool, chain = await introduction(config, client, journal)
    hub = await _hub(chain, config, stack)
    require_private(wallet.address, hub.domain.chain_id)
    heads, clock = Heads(hub.rpc, config.ws_url), ChainClock()
    money = Money.open(
        config, wallet, hub, heads=heads, journal=journal, free_gas=chain.sidechain
    )
    stack.callback(money.close)
    networks = Networks(config, executor)
    steps = WorkerSteps(
        me=wallet.address,
        hub=hub,
        votes=money.votes,
        supplies=Supplies(hub, executor, config),
        computer=Computer(wallet.address, config, executor, networks),
        store=await stack.enter_async_context(_store(pool, config)),
        sign=wallet.sign_message,
        clock=clock,
        room=Room(config),
    )
    engine = await _engine(config, journal, steps)
    _let_rest(money.sender, engine)
    follower = await _follower(config, engine, heads, hub=hub, clock=clock, journal=journal)
    talk = Session if client.kin else foreign
    session = talk(wallet.address, config, client, hub, engine, journal, follower)
    follower.moved, steps.before_vote = session.refresh_deals, session.before_vote
    helm = _helm(session, networks, Successor(client), steps.room)
    money.attend(session)
    wishes, books = attend(session, steps.supplies), accountant_of(session)
    return Parts(session, heads, money, follower, engine, helm, wishes, books)


def _journal(config: WorkerConfig, stack: AsyncExitStack) -> Journal[Fact]:
    journal = Journal[Fact](config.home / "journal.db", get_args(Fact))
    stack.callback(journal.close)
    return journal


async def _engine(
    config: WorkerConfig, journal: Journal[Fact], steps: WorkerSteps
) -> WorkerEngine:
    rules = WorkerRules(steps.me, steps.clock)
    engine: WorkerEngine = Engine(journal=journal, rules=rules, perform=steps.perform)
    steps.states = engine.states
    for folder in ended_folders(config.home, engine, steps.me):
        await folder.tidied()
    return engine


def _helm(session: Session, networks: Networks, *gates: Gate) -> Helm:
    """Who may say no to work in general, and who to a task; the first of them steers."""
    helm = Helm(session.journal, session.changes)
    session.gates += [helm, JournalGate(session.journal), *gates]
    session.judges += [helm, networks]
    networks.decisions = session.decisions
    return helm


async def _hub(chain: ChainConfig, config: WorkerConfig, stack: AsyncExitStack) -> Hub:
    nodes = config.rpc_urls or (chain.chain_node_url,)
    rpc = await stack.enter_async_context(Rpc(nodes, ca=config.ca_file))
    return await hub_of(rpc, chain, config)


def _store(pool: PublicConfig, config: WorkerConfig) -> ResultsClient:
    return ResultsClient(pool.result_repository_url, config.ca_file)


def _client(config: WorkerConfig, wallet: Wallet) -> SchedulerClient:
    return SchedulerClient(
        config.scheduler_url,
        wallet=wallet.address,
        sign=wallet.sign_hash,
        instance=instance_of(config.home),
        ca=config.ca_file,
    )


async def _follower(
    config: WorkerConfig,
    engine: WorkerEngine,
    heads: Heads,
    *,
    hub: Hub,
    clock: ChainClock,
    journal: Journal[Fact],
) -> Follower:
    """A new worker knows no task yet, so it begins with the newest block."""
    watcher = Watcher(
        hub.rpc,
        address=hub.address,
        topics=TASK_TOPICS,
        cursor=NoteCursor(journal),
        confirmations=config.confirmations,
        start=(await hub.head()).number,
        heads=heads,
    )
    _let_rest(watcher, engine)
    return Follower(hub=hub, watcher=watcher, engine=engine, clock=clock)


def _let_rest(part: Watcher | Sender, engine: WorkerEngine) -> None:
    """Block by block only while there is a task: an idle worker sleeps."""
    part.calm = partial(_calm, engine)
    engine.listen(lambda entry: part.wake())


def _calm(engine: WorkerEngine) -> bool:
    """Whether there is no task that could need anything."""
    return all(task.status.over for task in engine.states.values())
