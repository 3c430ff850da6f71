"""A worker's parts before the real contracts, and deals that a requester bought on them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from tallystick.chain.calls import Calls
from tallystick.chain.hub import Hub
from tallystick.chain.sender import Fees, Sender
from tallystick.chain.wallet import Wallet
from tallystick.devnet.actors import Actor
from tallystick.engine.clock import ChainClock
from tallystick.engine.engine import Engine
from tallystick.engine.journal import Journal
from tallystick.lifecycle.facts import Assigned, Fact, Initialized, Ordered
from tallystick.lifecycle.task import Task, fold
from tallystick.poco.contribution import authorization_hash
from tallystick.poco.deal import Deal
from tallystick.poco.orders import (
    NO_DATASET_ORDER,
    AppOrder,
    DatasetOrder,
    Domain,
    RequestOrder,
    WorkerpoolOrder,
    order_hash,
)
from tallystick.poco.signing import sign
from tallystick.poco.values import Address, DealId, Hash, Signature, TaskId
from tallystick.wire.authorization import SignatureBody, WorkerpoolAuthorization
from tallystick.wire.results import ResultsClient
from tallystick.worker.compute import Computer
from tallystick.worker.config import WorkerConfig
from tallystick.worker.funds import Funds
from tallystick.worker.pledges import Pledges
from tallystick.worker.room import Room
from tallystick.worker.session import WorkerEngine
from tallystick.worker.steps import WorkerRules, WorkerSteps
from tallystick.worker.supplies import Supplies
from tallystick.worker.votes import Votes

_SALTS = itertools.count(1)
ME = Address(b"\x01" * 20)
DEAL = Deal(DealId(b"\x0d" * 32), start=0, time_unit=60, trust=1)
TASK = DEAL.task_id(0)


def settings(base: Path, **more: Any) -> WorkerConfig:
    known = {
        "scheduler_url": "http://127.0.0.1:1",
        "wallet": base / "wallet.json",
        "password_file": base / "password",
        "base_dir": base,
        "private_downloads": True,
        "max_memory": 256 << 20,
        "max_result": 4 << 20,
    }
    return WorkerConfig(**(known | more))


def task_of(*facts: Fact, deal: Deal = DEAL) -> Task:
    """Task 0 of `deal` after these facts."""
    task = fold([Ordered(deal, 0), *facts])
    assert task is not None
    return task


@dataclass
class Trade:
    """Deals on the chain of a fixture."""

    chain: Any
    calls: Calls = field(init=False)
    domain: Domain = field(init=False)

    def __post_init__(self) -> None:
        chain = self.chain
        self.domain = Domain(chain.chain_id, chain.hub)
        self.calls = Calls(
            hub=chain.hub,
            token=chain.rlc,
            apps=chain.app_registry,
            datasets=chain.dataset_registry,
            workerpools=chain.workerpool_registry,
        )

    def send(self, actor: Actor, call: Any) -> Any:
        receipt = self.chain.transact(actor.address, call.to, call.data)
        assert int(receipt["status"], 16) == 1, call.what
        return receipt

    def signed(self, order: Any, actor: Actor) -> Any:
        return replace(order, sign=sign(actor.key, order_hash(order, self.domain)))

    def deal(
        self, *, app: Address | None = None, dataset: DatasetOrder | None = None, **request: Any
    ) -> DealId:
        """Match orders for `app`; `request` changes the requester's."""
        chain, salt = self.chain, Hash(next(_SALTS).to_bytes(32, "big"))
        app, volume = app or chain.app, request.pop("volume", 1)
        pool_price = request.pop("price", 10)
        offer = AppOrder(app=app, price=1, volume=volume, salt=salt)
        pool = WorkerpoolOrder(
            workerpool=chain.workerpool, price=pool_price, volume=volume, trust=100, salt=salt
        )
        wish = RequestOrder(
            app=app,
            app_max_price=1,
            workerpool_max_price=pool_price,
            requester=chain.requester.address,
            volume=volume,
            salt=salt,
            **{"trust": 1} | request,
        )
        receipt = self.send(
            chain.requester,
            self.calls.match_orders(
                self.signed(offer, chain.app_owner),
                dataset or NO_DATASET_ORDER,
                self.signed(pool, chain.scheduler),
                self.signed(wish, chain.requester),
            ),
        )
        notice = next(log for log in receipt["logs"] if len(log["topics"]) == 2)
        return DealId(notice["data"])

    def permission(
        self, task: TaskId, worker: Address, *, deal: DealId, signer: Actor | None = None
    ) -> WorkerpoolAuthorization:
        key = (signer or self.chain.scheduler).key
        signature = Wallet(key).sign_message(authorization_hash(worker, task))
        return WorkerpoolAuthorization(
            chain_task_id=task,
            deal_id=deal,
            task_index=0,
            worker_wallet=worker,
            signature=SignatureBody(value=Signature(signature)),
        )


@dataclass
class Bench:
    """One worker's engine and steps; the engine does not work by itself."""

    trade: Trade
    hub: Hub
    wallet: Wallet
    config: WorkerConfig
    sender: Sender
    journal: Journal[Fact]
    engine: WorkerEngine
    steps: WorkerSteps

    @property
    def me(self) -> Address:
        return self.wallet.address

    async def replicate(self, *, opened: bool = True, **request: Any) -> Task:
        """A task of a new deal, open on the chain, and assigned to us."""
        id = self.trade.deal(**request)
        deal = await self.hub.deal(id)
        assert deal is not None
        task = deal.task_id(0)
        if opened:
            self.trade.send(self.trade.chain.scheduler, self.trade.calls.initialize(id, 0))
        permission = self.trade.permission(task, self.me, deal=id)
        for fact in (
            Ordered(deal, 0),
            Initialized(),
            Assigned(self.me, 2, permission.signature.value),
        ):
            self.engine.record(str(task), fact)
        return self.task(task)

    def task(self, id: TaskId) -> Task:
        return self.engine.states[str(id)]

    def after(self, task: Task, *facts: Fact) -> Task:
        for fact in facts:
            self.engine.record(str(task.id), fact)
        return self.task(task.id)


async def never(command: object) -> Fact | None:
    raise AssertionError("the engine of these tests is not working")


def bench(
    trade: Trade, hub: Hub, folder: Path, *, executor: Any = None, worker: int = 0, **more: Any
) -> Bench:
    chain, config = trade.chain, settings(folder, **more)
    wallet = Wallet(chain.workers[worker].key)
    config.home.mkdir(parents=True, exist_ok=True)
    sender = Sender(hub.rpc, wallet, folder / "transactions.db", chain_id=chain.chain_id)
    journal = Journal[Fact](folder / "journal.db", get_args(Fact))
    clock = ChainClock()
    steps = WorkerSteps(
        me=wallet.address,
        hub=hub,
        votes=Votes(
            wallet.address,
            hub,
            sender,
            Funds(wallet.address, hub, sender, Fees()),
            Pledges(folder / "votes.db"),
            reveal_cap=Fees().cap * 4,
        ),
        supplies=Supplies(hub, executor, config),
        computer=Computer(wallet.address, config, executor),
        store=ResultsClient("http://127.0.0.1:1"),
        sign=wallet.sign_message,
        clock=clock,
        room=Room(config),
    )
    rules = WorkerRules(wallet.address, clock)
    engine: WorkerEngine = Engine(journal=journal, rules=rules, perform=never)
    steps.states = steps.votes.funds.states = engine.states
    return Bench(trade, hub, wallet, config, sender, journal, engine, steps)
