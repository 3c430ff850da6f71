"""A real node with the real contracts, on which lives of tasks are played for their gas.

Everything is the same in every run: accounts, orders, salts and digests. So gas is, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import TypeVar

from eth_hash.auto import keccak

from tallystick.chain.call import Call
from tallystick.chain.calls import Calls
from tallystick.devnet.actors import (
    ETHER,
    RLC,
    Actor,
    Grant,
    create_workerpool,
    endow,
    register_app,
    register_dataset,
)
from tallystick.devnet.anvil import CHAIN_ID, Anvil, AnvilOptions
from tallystick.devnet.console import Console
from tallystick.devnet.deploy import Contracts, deploy
from tallystick.devnet.packages import packages
from tallystick.engine.errors import Refused
from tallystick.poco.contribution import authorization_hash, result_hash, result_seal
from tallystick.poco.deal import deal_id
from tallystick.poco.orders import (
    NO_DATASET_ORDER,
    AppOrder,
    DatasetOrder,
    Domain,
    Order,
    RequestOrder,
    WorkerpoolOrder,
    order_hash,
)
from tallystick.poco.signing import ethereum_message_hash, sign
from tallystick.poco.values import ZERO_ADDRESS, Address, DealId, Digest, Hash, TaskId

APP_PRICE, DATASET_PRICE, POOL_PRICE = 1_000_000_001, 500_000_003, 10_000_000_007
STAKE = POOL_PRICE * 30 // 100
"""What the scheduler locks for a task, and each worker that votes."""
PARAMS = '{"iexec_args":"a b"}'
LINK = b"ipfs://short-link-of-result"
"""A result that fits into one word of storage."""
WORKERS = 6
Signable = TypeVar("Signable", bound=Order)
_PLENTY = 2**256 - 1
_LIMIT = 6_000_000
"""Gas that a transaction may use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What of the four orders differs from life to life."""

    trust: int = 1
    volume: int = 1
    dataset: bool = True
    params: str = PARAMS
    callback: Address = ZERO_ADDRESS


class Reverted(Refused):
    """A transaction that should have gone through was refused by the contracts."""


@dataclass(slots=True)
class Stage:
    """The chain and who acts on it. Every method makes one transaction and tells its gas."""

    console: Console
    contracts: Contracts
    calls: Calls
    deployed: int = 0
    """Gas of all that was sent until the contracts were there."""
    workerpool: Address = ZERO_ADDRESS
    app: Address = ZERO_ADDRESS
    dataset: Address = ZERO_ADDRESS
    scheduler: Actor = field(default_factory=lambda: Actor.named("scheduler"))
    requester: Actor = field(default_factory=lambda: Actor.named("requester"))
    app_owner: Actor = field(default_factory=lambda: Actor.named("app owner"))
    dataset_owner: Actor = field(default_factory=lambda: Actor.named("dataset owner"))
    workers: tuple[Actor, ...] = tuple(Actor.named(f"worker {n}") for n in range(WORKERS))
    salts: Iterator[int] = field(default_factory=lambda: count(1))
    deal: DealId = field(default_factory=lambda: DealId(bytes(32)))
    """The latest."""

    @property
    def actors(self) -> tuple[Actor, ...]:
        """Everybody."""
        return (
            *(self.scheduler, self.requester, self.app_owner, self.dataset_owner),
            *self.workers,
        )

    def stake(self, offer: Offer, workers: Sequence[Actor] = ()) -> None:
        """Give everybody on the hub just what the deal will lock, so that nothing is left:
        what is not zero before a transaction, and after it, is most of its gas."""
        price = APP_PRICE + POOL_PRICE + (DATASET_PRICE if offer.dataset else 0)
        grants = [
            Grant(to=self.requester.address, deposit=price * offer.volume),
            Grant(to=self.scheduler.address, deposit=STAKE * offer.volume),
            *(Grant(to=worker.address, deposit=STAKE) for worker in workers),
        ]
        endow(self.console, self.contracts, grants)

    def send(self, sender: Actor, call: Call) -> int:
        """Have `call` mined. Raises Reverted."""
        step = {"from": str(sender.address), "to": str(call.to), "gas": hex(_LIMIT)}
        step["data"] = "0x" + call.data.hex()
        receipt = self.console.call("eth_sendTransactionSync", step)
        if int(receipt["status"], 16) != 1:
            raise Reverted(f"The contracts refused to {call.what}.")
        return int(receipt["gasUsed"], 16)

    def match(self, offer: Offer) -> int:
        """Four orders, signed by their owners, become the deal `self.deal`."""
        orders = self.orders(offer)
        request = orders[-1]
        domain = Domain(CHAIN_ID, self.contracts.hub)
        gas = self.send(self.requester, self.calls.match_orders(*orders))
        self.deal = deal_id(order_hash(request, domain), 0)
        return gas

    def task(self, index: int = 0) -> TaskId:
        """A task of the latest deal."""
        return TaskId(keccak(self.deal + index.to_bytes(32, "big")))

    def initialize(self) -> int:
        """Open the first task of the deal."""
        return self.send(self.scheduler, self.calls.initialize(self.deal, 0))

    def initialize_all(self, size: int) -> int:
        """Open the deal's first `size` tasks in one transaction."""
        call = self.calls.initialize_array([self.deal] * size, list(range(size)))
        return self.send(self.scheduler, call)

    def contribute(self, worker: Actor, digest: Digest, index: int = 0) -> int:
        """Vote."""
        task = self.task(index)
        call = self.calls.contribute(
            task,
            result_hash(task, digest),
            result_seal(worker.address, task, digest),
            authorization=self._permit(worker, task),
        )
        return self.send(worker, call)

    def contribute_and_finalize(
        self, worker: Actor, digest: Digest, results: bytes = LINK, index: int = 0
    ) -> int:
        """Vote, prove and finalize at once."""
        task = self.task(index)
        call = self.calls.contribute_and_finalize(
            task, digest, results=results, authorization=self._permit(worker, task)
        )
        return self.send(worker, call)

    def reveal(self, worker: Actor, digest: Digest, index: int = 0) -> int:
        """Prove."""
        return self.send(worker, self.calls.reveal(self.task(index), digest))

    def finalize(self, results: bytes = LINK, index: int = 0) -> int:
        """Publish the result and pay everybody."""
        return self.send(self.scheduler, self.calls.finalize(self.task(index), results))

    def pass_time(self, seconds: int) -> None:
        """The next block is so much later."""
        self.console.call("evm_increaseTime", hex(seconds))
        self.console.call("evm_mine")

    @contextmanager
    def rehearsed(self) -> Iterator[None]:
        """Whatever happens inside is undone."""
        before = self.console.call("evm_snapshot")
        try:
            yield
        finally:
            self.console.call("evm_revert", before)

    def _permit(self, worker: Actor, task: TaskId) -> bytes:
        allowed = authorization_hash(worker.address, task)
        return sign(self.scheduler.key, ethereum_message_hash(allowed))

    def orders(
        self, offer: Offer
    ) -> tuple[AppOrder, DatasetOrder, WorkerpoolOrder, RequestOrder]:
        """Four orders that fit, each signed by its owner. No two calls give the same."""
        salt = Hash(next(self.salts).to_bytes(32, "big"))
        app = AppOrder(app=self.app, price=APP_PRICE, volume=offer.volume, salt=salt)
        data = DatasetOrder(
            dataset=self.dataset, price=DATASET_PRICE, volume=offer.volume, salt=salt
        )
        pool = WorkerpoolOrder(
            workerpool=self.workerpool,
            price=POOL_PRICE,
            volume=offer.volume,
            trust=offer.trust,
            salt=salt,
        )
        request = RequestOrder(
            app=self.app,
            app_max_price=_PLENTY,
            dataset=self.dataset if offer.dataset else ZERO_ADDRESS,
            dataset_max_price=_PLENTY,
            workerpool_max_price=_PLENTY,
            requester=self.requester.address,
            volume=offer.volume,
            trust=offer.trust,
            beneficiary=self.requester.address,
            callback=offer.callback,
            params=offer.params,
            salt=salt,
        )
        return (
            self._signed(app, self.app_owner),
            self._signed(data, self.dataset_owner) if offer.dataset else NO_DATASET_ORDER,
            self._signed(pool, self.scheduler),
            self._signed(request, self.requester),
        )

    def _signed(self, order: Signable, owner: Actor) -> Signable:
        digest = order_hash(order, Domain(CHAIN_ID, self.contracts.hub))
        return replace(order, sign=sign(owner.key, digest))


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """A node of its own with everything that a deal needs; gone afterwards.

    Raises NpmMissing and PackagesMissing.
    """
    found = packages()
    with Anvil(AnvilOptions(binary=found.anvil, folder=folder)) as node:
        places = deploy(node.console, found.poco, chain_id=CHAIN_ID)
        burnt = _burnt(node.console)
        made = _furnished(node.console, places)
        made.deployed = burnt
        yield made


def _burnt(console: Console) -> int:
    """Gas of all transactions so far."""
    newest = int(console.call("eth_blockNumber"), 16)
    asked = [("eth_getBlockByNumber", [hex(n), False]) for n in range(newest + 1)]
    return sum(int(block["gasUsed"], 16) for block in console.batch(asked))


def _furnished(console: Console, places: Contracts) -> Stage:
    calls = Calls(
        hub=places.hub,
        token=places.rlc,
        apps=places.app_registry,
        datasets=places.dataset_registry,
        workerpools=places.workerpool_registry,
    )
    made = Stage(console, places, calls)
    endow(
        console,
        places,
        [Grant(to=a.address, wei=1_000 * ETHER, rlc=10_000 * RLC) for a in made.actors],
    )
    made.workerpool = create_workerpool(
        console, places, owner=made.scheduler.address, description="bench pool"
    )
    made.app = register_app(
        console,
        places,
        owner=made.app_owner.address,
        name="bench app",
        image="registry/bench:1",
        digest=Hash(b"\x11" * 32),
    )
    made.dataset = register_dataset(
        console,
        places,
        owner=made.dataset_owner.address,
        name="bench data",
        multiaddr=b"http://127.0.0.1/data",
        checksum=Hash(b"\x22" * 32),
    )
    console.batch([("anvil_impersonateAccount", [str(a.address)]) for a in made.actors])
    return made
