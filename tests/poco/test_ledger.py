"""The ledger by itself: any pool may play on it, and no money is ever made or lost.

That it is the contracts' equal is shown beside the contracts themselves.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.poco.clerk import Workerpool
from tallystick.poco.contribution import authorization_hash, result_hash, result_seal
from tallystick.poco.deal import Category
from tallystick.poco.escrow import Event, Revert
from tallystick.poco.ledger import ChainStatus, Ledger, Permit, Vote
from tallystick.poco.orders import (
    NO_DATASET_ORDER,
    AppOrder,
    Domain,
    RequestOrder,
    WorkerpoolOrder,
    order_hash,
)
from tallystick.poco.rewards import KITTY
from tallystick.poco.signing import address_of, ethereum_message_hash, sign
from tallystick.poco.values import Address, Digest, Hash, TaskId

OWNER, SCHEDULER, REQUESTER = (bytes([n]) * 32 for n in (1, 2, 3))
APP, POOL, HUB = (Address(bytes([n]) * 20) for n in (0xA, 0xB, 0xC))
WORKERS = tuple(Address(bytes([n]) * 20) for n in range(1, 7))
TRUE, FALSE = Digest(b"t" * 32), Digest(b"f" * 32)
RICH = 10**12


@dataclass
class Market:
    """A hub with one app, one pool and rich people."""

    events: list[Event] = field(default_factory=list)
    now: int = 1_000

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.events.append, Domain(1, HUB))
        registries = self.ledger.clerk.registries
        registries.apps[APP] = address_of(OWNER)
        registries.workerpools[POOL] = Workerpool(address_of(SCHEDULER))
        xs = Category(id=0, name="XS", description="", time_unit=300)
        self.ledger.clerk.categories.append(xs)
        people = [address_of(key) for key in (OWNER, SCHEDULER, REQUESTER)]
        for account in (*people, *WORKERS):
            self.ledger.escrow.deposit(account, RICH)

    def signed(self, order: Any, key: bytes) -> Any:
        return replace(order, sign=sign(key, order_hash(order, self.ledger.clerk.domain)))

    def task(self, *, trust: int = 1, price: int = 1_000, app_price: int = 10) -> TaskId:
        salt = Hash(len(self.ledger.clerk.deals).to_bytes(32, "big"))
        clerk = self.ledger.clerk
        deal = clerk.match_orders(
            self.signed(AppOrder(app=APP, price=app_price, salt=salt), OWNER),
            NO_DATASET_ORDER,
            self.signed(
                WorkerpoolOrder(workerpool=POOL, price=price, trust=trust, salt=salt), SCHEDULER
            ),
            self.signed(
                RequestOrder(
                    app=APP,
                    app_max_price=app_price,
                    workerpool_max_price=price,
                    requester=address_of(REQUESTER),
                    trust=trust,
                    salt=salt,
                ),
                REQUESTER,
            ),
            now=self.now,
        )
        return self.ledger.initialize(deal, 0)

    def contribute(self, worker: Address, task: TaskId, digest: Digest) -> None:
        allowed = ethereum_message_hash(authorization_hash(worker, task))
        self.ledger.contribute(
            worker,
            task,
            result_hash(task, digest),
            result_seal(worker, task, digest),
            permit=Permit(authorization=sign(SCHEDULER, allowed)),
            now=self.now,
        )

    def names(self) -> list[str]:
        return [event.name for event in self.events]

    def check_money(self) -> None:
        escrow = self.ledger.escrow
        assert sum(escrow.balances.values()) == escrow.supply
        assert min(escrow.balances.values()) >= 0
        assert min(escrow.locked.values(), default=0) >= 0
        assert sum(escrow.locked.values()) == escrow.balance(HUB)


def test_a_task_from_orders_to_pay():
    market = Market()
    task = market.task()
    market.events.clear()
    market.contribute(WORKERS[0], task, TRUE)
    assert market.names() == ["Transfer", "Lock", "TaskContribute", "TaskConsensus"]
    market.ledger.reveal(WORKERS[0], task, TRUE, now=market.now)
    market.ledger.finalize(address_of(SCHEDULER), task, results=b"link", now=market.now)
    assert market.ledger.tasks[task].status is ChainStatus.COMPLETED
    balance = market.ledger.escrow.balance
    assert balance(WORKERS[0]) == RICH + 990
    assert balance(address_of(SCHEDULER)) == RICH + 10
    assert balance(address_of(OWNER)) == RICH + 10
    assert balance(address_of(REQUESTER)) == RICH - 1_010
    market.check_money()


def test_a_refused_call_changes_nothing_and_says_why():
    market = Market()
    task = market.task()
    before = list(market.events)
    with pytest.raises(Revert, match="There is no task"):
        market.ledger.reveal(WORKERS[0], TaskId(bytes(32)), TRUE, now=market.now)
    with pytest.raises(Revert, match="may still be computed"):
        market.ledger.claim(task, now=market.now)
    with pytest.raises(Revert, match="has no task 7"):
        market.ledger.initialize(market.ledger.tasks[task].deal.id, 7)
    assert market.events == before


def test_a_failed_task_feeds_the_kitty():
    market = Market()
    task = market.task()
    market.now += 3_000
    market.ledger.claim(task, now=market.now)
    assert market.ledger.escrow.stake(KITTY) == 300
    assert market.names()[-6:] == [
        *("Transfer", "Unlock", "Seize", "Reward", "Lock", "TaskClaimed")
    ]
    market.check_money()


moves = st.tuples(
    st.sampled_from(["vote", "vote", "vote", "reveal", "reveal", "finalize", "reopen", "wait"]),
    st.sampled_from(WORKERS),
    st.sampled_from([TRUE, TRUE, FALSE]),
)


@given(
    trust=st.integers(0, 5),
    price=st.sampled_from([0, 3, 7, 1_000, 10**9 + 7]),
    played=st.lists(moves, min_size=5, max_size=40),
)
def test_whatever_is_played_money_is_neither_made_nor_lost(
    trust: int, price: int, played: list[tuple[str, Address, Digest]]
):
    market = Market()
    task = market.task(trust=trust, price=price)
    for move, worker, digest in played:
        before = len(market.events)
        try:
            play(market, task, move, worker, digest)
        except Revert:
            assert len(market.events) == before
        market.check_money()
    finish(market, task)


def play(market: Market, task: TaskId, move: str, worker: Address, digest: Digest) -> None:
    market.now += 1
    match move:
        case "vote":
            market.contribute(worker, task, digest)
        case "reveal":
            market.ledger.reveal(worker, task, digest, now=market.now)
        case "finalize":
            market.ledger.finalize(address_of(SCHEDULER), task, now=market.now)
        case "reopen":
            market.ledger.reopen(address_of(SCHEDULER), task, now=market.now)
        case _:
            market.now += 400


def finish(market: Market, task: TaskId) -> None:
    """After the end nothing of the task is locked any more, and everybody knows how it went."""
    found = market.ledger.tasks[task]
    if found.status in (ChainStatus.ACTIVE, ChainStatus.REVEALING):
        market.ledger.claim(task, now=max(market.now, found.deal.final_deadline))
    market.check_money()
    locked = {who for who, amount in market.ledger.escrow.locked.items() if amount}
    assert locked <= {KITTY}
    if found.status is ChainStatus.COMPLETED and len(found.contributions) > 1:
        proved = {w for w, c in found.contributions.items() if c.status is Vote.PROVED}
        assert {w for w, score in market.ledger.scores.items() if score} == proved
