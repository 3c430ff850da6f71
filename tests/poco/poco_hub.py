"""A hub with assets, rich people and orders that fit, for tests of the ledger and the clerk."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import pytest

from tallystick.poco.clerk import Clerk, Workerpool
from tallystick.poco.contribution import (
    authorization_hash,
    enclave_hash,
    result_hash,
    result_seal,
)
from tallystick.poco.deal import Category, Deal
from tallystick.poco.escrow import Escrow, Event, Revert
from tallystick.poco.ledger import ChainTask, Ledger, Permit
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
from tallystick.poco.signing import address_of, ethereum_message_hash, sign
from tallystick.poco.values import Address, Digest, Hash, TaskId

OWNER_KEY, SCHEDULER_KEY, REQUESTER_KEY, DATA_KEY, ENCLAVE_KEY, BROKER_KEY = (
    bytes([n]) * 32 for n in range(1, 7)
)
OWNER, SCHEDULER, REQUESTER, DATA_OWNER, ENCLAVE, BROKER = (
    address_of(bytes([n]) * 32) for n in range(1, 7)
)
APP, POOL, HUB, DATASET = (Address(bytes([n]) * 20) for n in (0xA, 0xB, 0xC, 0xD))
WORKERS = tuple(Address(bytes([n]) * 20) for n in range(1, 7))
STRANGER = Address(b"\x99" * 20)
TRUE, FALSE = Digest(b"t" * 32), Digest(b"f" * 32)
RICH = 10**12
KEYS = {
    AppOrder: OWNER_KEY,
    DatasetOrder: DATA_KEY,
    WorkerpoolOrder: SCHEDULER_KEY,
    RequestOrder: REQUESTER_KEY,
}


@dataclass
class Market:
    """One app, one dataset, one pool, two categories. Everybody has `RICH` on the hub."""

    events: list[Event] = field(default_factory=list)
    now: int = 1_000
    salts: count[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.events.append, Domain(1, HUB))
        registries = self.clerk.registries
        registries.apps[APP] = OWNER
        registries.datasets[DATASET] = DATA_OWNER
        registries.workerpools[POOL] = Workerpool(SCHEDULER)
        for index, (name, seconds) in enumerate((("XS", 300), ("S", 1200))):
            category = Category(id=index, name=name, description="", time_unit=seconds)
            self.clerk.categories.append(category)
        for account in (OWNER, SCHEDULER, REQUESTER, DATA_OWNER, *WORKERS):
            self.escrow.deposit(account, RICH)
        self.events.clear()

    @property
    def clerk(self) -> Clerk:
        return self.ledger.clerk

    @property
    def escrow(self) -> Escrow:
        return self.ledger.escrow

    def signed(self, order: Order) -> Any:
        digest = order_hash(order, self.clerk.domain)
        return replace(order, sign=sign(KEYS[type(order)], digest))

    def offers(
        self,
        *,
        app: dict[str, Any] | None = None,
        dataset: dict[str, Any] | None = None,
        workerpool: dict[str, Any] | None = None,
        request: dict[str, Any] | None = None,
    ) -> list[Any]:
        """Four signed orders with these changes; without any for the dataset there is none."""
        salt = Hash(next(self.salts).to_bytes(32, "big"))
        asked = {"app": APP, "requester": REQUESTER, "salt": salt, **(request or {})}
        offered = {"dataset": DATASET, "salt": salt, **(dataset or {})}
        for name, changes in (("app", app), ("dataset", dataset), ("workerpool", workerpool)):
            asked.setdefault(f"{name}_max_price", (changes or {}).get("price", 0))
        if dataset is not None:
            asked.setdefault("dataset", DATASET)
        return [
            self.signed(AppOrder(**{"app": APP, "salt": salt, **(app or {})})),
            NO_DATASET_ORDER if dataset is None else self.signed(DatasetOrder(**offered)),
            self.signed(
                WorkerpoolOrder(**{"workerpool": POOL, "salt": salt, **(workerpool or {})})
            ),
            self.signed(RequestOrder(**asked)),
        ]

    def deal(self, *orders: Any, sponsor: Address | None = None) -> Deal:
        made = self.clerk.match_orders(*orders, now=self.now, sponsor=sponsor)
        return self.clerk.deals[made]

    def task(
        self, *, trust: int = 1, price: int = 1_000, app_price: int = 10, **request: Any
    ) -> TaskId:
        """The first task of a deal without a dataset."""
        tag = {"tag": request["tag"]} if "tag" in request else {}
        orders = self.offers(
            app={"price": app_price, **tag},
            workerpool={"price": price, "trust": trust, **tag},
            request={"trust": trust, **request},
        )
        return self.ledger.initialize(self.deal(*orders).id, 0)

    def found(self, task: TaskId) -> ChainTask:
        return self.ledger.tasks[task]

    def permit(self, worker: Address, task: TaskId, *, key: bytes = SCHEDULER_KEY) -> Permit:
        """The word of whose `key` it is, for no enclave."""
        allowed = ethereum_message_hash(authorization_hash(worker, task))
        return Permit(authorization=sign(key, allowed))

    def vouched(
        self,
        worker: Address,
        task: TaskId,
        *,
        key: bytes = SCHEDULER_KEY,
        enclave_key: bytes = ENCLAVE_KEY,
        digest: Digest = TRUE,
    ) -> Permit:
        """The same for an enclave, with its signature of the result."""
        allowed = ethereum_message_hash(authorization_hash(worker, task, ENCLAVE))
        computed = enclave_hash(result_hash(task, digest), result_seal(worker, task, digest))
        return Permit(
            authorization=sign(key, allowed),
            enclave=ENCLAVE,
            enclave_sign=sign(enclave_key, ethereum_message_hash(computed)),
        )

    def contribute(
        self,
        worker: Address,
        task: TaskId,
        digest: Digest = TRUE,
        *,
        permit: Permit | None = None,
        seal: Hash | None = None,
    ) -> None:
        self.ledger.contribute(
            *(worker, task, result_hash(task, digest)),
            seal or result_seal(worker, task, digest),
            permit=permit or self.permit(worker, task),
            now=self.now,
        )

    def shortcut(
        self, worker: Address, task: TaskId, digest: Digest = TRUE, **options: Any
    ) -> None:
        """Contribute and finalize."""
        options.setdefault("permit", self.permit(worker, task))
        self.ledger.contribute_and_finalize(worker, task, digest, now=self.now, **options)

    def reveal(self, worker: Address, task: TaskId, digest: Digest = TRUE) -> None:
        self.ledger.reveal(worker, task, digest, now=self.now)

    def finalize(self, task: TaskId, *, sender: Address = SCHEDULER, **options: Any) -> None:
        self.ledger.finalize(sender, task, now=self.now, **options)

    def reopen(self, task: TaskId, *, sender: Address = SCHEDULER) -> None:
        self.ledger.reopen(sender, task, now=self.now)

    def claim(self, task: TaskId) -> None:
        self.ledger.claim(task, now=self.now)

    def names(self) -> list[str]:
        return [event.name for event in self.events]

    def net(self, account: Address) -> int:
        """What it has won or lost, by its free money."""
        return self.escrow.balance(account) - RICH

    def check_money(self) -> None:
        escrow = self.escrow
        assert sum(escrow.balances.values()) == escrow.supply
        assert min(escrow.balances.values()) >= 0
        assert min(escrow.locked.values(), default=0) >= 0
        assert sum(escrow.locked.values()) == escrow.balance(HUB)

    def state(self) -> str:
        """All that the hub keeps, and how much it has told."""
        ledger, clerk, escrow = self.ledger, self.clerk, self.escrow
        kept = (ledger.tasks, ledger.scores, clerk.deals, clerk.consumed, clerk.presigned)
        return repr((kept, escrow.balances, escrow.locked, escrow.supply, len(self.events)))

    def refuses(
        self, why: str, call: Any, *args: Any, reason: str = "", **options: Any
    ) -> None:
        """The call reverts for that reason and changes nothing."""
        before = self.state()
        with pytest.raises(Revert, match=why) as refusal:
            call(*args, **options)
        assert refusal.value.reason == reason
        assert self.state() == before
