"""The pool's orders on the real contracts: signed, matched, renewed, closed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pytest

from tallystick.chain.fees import Fees
from tallystick.chain.hub import Hub
from tallystick.chain.logs import OrdersMatched
from tallystick.chain.records import WorkerpoolInfo
from tallystick.chain.rpc import Rpc
from tallystick.chain.sender import Sender
from tallystick.chain.wallet import Wallet
from tallystick.engine.errors import Refused
from tallystick.engine.journal import Journal
from tallystick.lifecycle.facts import Fact
from tallystick.poco.orders import (
    NO_DATASET_ORDER,
    AppOrder,
    RequestOrder,
    WorkerpoolOrder,
    order_hash,
)
from tallystick.poco.tags import TEE, tag_of
from tallystick.poco.values import Hash
from tallystick.scheduler.config import SchedulerConfig
from tallystick.scheduler.money_watch import MoneyWatch
from tallystick.scheduler.orders import NoSuchOrder, Orders, Standing
from tallystick.scheduler.terms import OrderTerms

pytestmark = pytest.mark.anyio

XS = OrderTerms(category=0, price=1_000, volume=2, trust=1)


async def willing(terms: OrderTerms, pool: WorkerpoolInfo) -> str:
    return ""


@dataclass
class Shop:
    """One pool's orders and a requester with money."""

    chain: Any
    folder: Path
    hub: Hub
    sender: Sender
    """The requester's."""
    owner: Sender
    salts: int = 0

    def orders(
        self,
        *terms: OrderTerms,
        wallet: Wallet | None = None,
        judge: Callable[[OrderTerms, WorkerpoolInfo], Awaitable[str]] = willing,
    ) -> Orders:
        """As a scheduler that starts has them."""
        journal = Journal[Fact](self.folder / "journal.db", get_args(Fact))
        return Orders(
            journal=journal,
            hub=self.hub,
            wallet=wallet or Wallet(self.chain.scheduler.key),
            workerpool=self.chain.workerpool,
            settings=terms,
            judge=judge,
        )

    async def buy(self, pool: WorkerpoolOrder, volume: int) -> int:
        """The tasks of the deal that the chain makes of this order."""
        self.salts += 1
        salt = Hash(self.salts.to_bytes(32, "big"))
        app = AppOrder(app=self.chain.app, volume=10**6, salt=salt, tag=pool.tag)
        request = RequestOrder(
            app=self.chain.app,
            workerpool=pool.workerpool,
            workerpool_max_price=pool.price,
            requester=self.chain.requester.address,
            volume=volume,
            category=pool.category,
            salt=salt,
        )
        signed = [
            replace(o, sign=Wallet(who.key).sign_hash(order_hash(o, self.hub.domain)))
            for o, who in ((app, self.chain.app_owner), (request, self.chain.requester))
        ]
        call = self.hub.calls.match_orders(signed[0], NO_DATASET_ORDER, pool, signed[1])  # type: ignore[arg-type]
        receipt = await self.sender.send(call)
        return sum(each.volume for each in receipt.logs if isinstance(each, OrdersMatched))


@pytest.fixture
async def shop(shared_chain: Any, tmp_path: Path) -> AsyncIterator[Shop]:
    async with Rpc([shared_chain.url]) as rpc:
        hub = await Hub.open(rpc, shared_chain.hub)
        async with (
            sending(hub, shared_chain.requester, tmp_path / "a.db") as sender,
            sending(hub, shared_chain.scheduler, tmp_path / "b.db") as owner,
        ):
            yield Shop(shared_chain, tmp_path, hub, sender, owner)


@asynccontextmanager
async def sending(hub: Hub, actor: Any, book: Path) -> AsyncIterator[Sender]:
    chain_id = hub.domain.chain_id
    sender = Sender(hub.rpc, Wallet(actor.key), book, chain_id=chain_id)
    yield sender
    sender.close()


async def test_what_the_settings_sell_is_signed_and_the_contracts_take_it(shop: Shop):
    terms = OrderTerms(category=2, price=5_000, volume=7, tag=("tee",))
    orders = shop.orders(terms)
    assert orders.current() == []
    await orders.renew()
    (order,) = orders.current()
    assert (order.category, order.price, order.volume) == (2, 5_000, 7)
    assert order.tag == tag_of(TEE)
    assert await shop.buy(order, 3) == 3
    await orders.renew()
    (kept,) = orders.on_offer()
    assert (kept.consumed, kept.remaining, kept.order) == (3, 4, order)


async def test_an_order_that_is_used_up_is_renewed_with_another_salt(shop: Shop):
    orders = shop.orders(XS)
    await orders.renew()
    (first,) = orders.current()
    assert await shop.buy(first, 2) == 2
    await orders.renew()
    (second,) = orders.current()
    assert second.salt != first.salt
    assert await shop.buy(second, 1) == 1
    standings = [kept.standing for kept in orders.all()]
    assert standings == [Standing.USED_UP, Standing.OFFERED]


async def test_a_restart_offers_the_same_order_and_a_lost_journal_too(shop: Shop):
    terms = replace(XS, price=1_001)
    orders = shop.orders(terms)
    await orders.renew()
    before = orders.current()
    again = shop.orders(terms)
    assert again.current() == before
    await again.renew()
    assert again.current() == before
    (shop.folder / "journal.db").unlink()
    for side in shop.folder.glob("journal.db-*"):
        side.unlink()
    anew = shop.orders(terms)
    assert anew.current() == []
    await anew.renew()
    assert anew.current() == before
    assert await shop.buy(before[0], 2) == 2
    (shop.folder / "journal.db").unlink()
    for side in shop.folder.glob("journal.db-*"):
        side.unlink()
    older = shop.orders(terms)
    await older.renew()
    assert older.current()[0].salt != before[0].salt, "the chain says that it is used up"


async def test_another_price_or_another_policy_replaces_the_order(shop: Shop):
    orders = shop.orders(replace(XS, price=2_000))
    await orders.renew()
    (old,) = orders.current()
    dearer = shop.orders(replace(XS, price=3_000))
    await dearer.renew()
    (new,) = dearer.current()
    assert new.price == 3_000
    call = shop.hub.calls.change_policy(shop.chain.workerpool, 40, 5)
    await shop.owner.send(call)
    await dearer.renew()
    (newest,) = dearer.current()
    assert newest.price == 3_000
    assert newest.salt not in (old.salt, new.salt)
    standings = [kept.standing for kept in dearer.all()]
    assert standings == [Standing.REPLACED, Standing.REPLACED, Standing.OFFERED]


async def test_a_cancelled_order_is_closed_on_the_chain_and_stays_away(shop: Shop):
    orders = shop.orders(replace(XS, price=4_000))
    await orders.renew()
    (kept,) = orders.on_offer()
    await shop.owner.send(orders.closing(kept.hash))
    orders.withdraw(kept.hash, Standing.CLOSED)
    await orders.renew()
    assert orders.current() == []
    with pytest.raises(Refused):
        await shop.buy(kept.order, 1)
    again = shop.orders(replace(XS, price=4_000))
    await again.renew()
    assert again.current() == [], "a restart does not bring it back"
    await again.publish(None)
    (fresh,) = again.current()
    assert await shop.buy(fresh, 1) == 1
    with pytest.raises(NoSuchOrder, match="has signed no order"):
        orders.known(Hash(bytes(32)))


async def test_terms_that_were_published_by_hand_are_renewed_too(shop: Shop):
    orders = shop.orders()
    await orders.publish(replace(XS, price=5_001, volume=1))
    (order,) = orders.current()
    assert await shop.buy(order, 1) == 1
    again = shop.orders()
    await again.renew()
    (fresh,) = again.on_offer()
    assert fresh.order.price == 5_001
    assert fresh.order.salt != order.salt
    again.withdraw(fresh.hash)
    await again.renew()
    assert again.current() == []


async def test_nothing_is_offered_or_signed_while_the_pool_drains(shop: Shop):
    orders = shop.orders(replace(XS, price=6_000))
    await orders.renew()
    orders.paused = True
    assert orders.current() == []
    await orders.renew()
    assert len(orders.all()) == 1
    orders.paused = False
    assert len(orders.current()) == 1


async def test_a_pool_that_was_sold_offers_nothing(shop: Shop):
    orders = shop.orders(XS, wallet=Wallet(shop.chain.workers[0].key))
    with pytest.raises(Refused, match="belongs to"):
        await orders.renew()
    assert orders.current() == []


@pytest.mark.parametrize("allowed", [False, True])
async def test_an_order_below_its_gas_is_not_signed_unless_that_is_allowed(
    shop: Shop, allowed: bool
):
    watch = MoneyWatch(
        hub=shop.hub,
        owner=shop.chain.scheduler.address,
        config=settings(shop, allow_loss=allowed, eth_per_rlc=Decimal("0.0005")),
        fees=Fees(),
        on_offer=list,
    )
    terms = replace(XS, price=7_000)
    orders = shop.orders(terms, judge=watch.objection)
    await orders.renew()
    assert len(orders.current()) == allowed
    if not allowed:
        assert "loses" in orders.refused[terms]
        assert "allow_loss" in orders.refused[terms]


@dataclass
class Gas:
    """A price of gas that the test sets, in wei."""

    wei: int

    def price(self, asked: int) -> int:
        return self.wei


@pytest.mark.parametrize("allowed", [False, True])
async def test_an_order_that_gas_has_made_a_loss_is_not_on_offer_while_it_is_one(
    shop: Shop, allowed: bool
):
    gas: Any = Gas(wei=1)
    watch = MoneyWatch(
        hub=shop.hub,
        owner=shop.chain.scheduler.address,
        config=settings(shop, allow_loss=allowed, eth_per_rlc=Decimal("0.0005")),
        fees=gas,
        on_offer=list,
    )
    terms = replace(XS, price=10**9)
    orders = shop.orders(terms, judge=watch.objection)
    await orders.renew()
    (signed,) = orders.current()
    gas.wei = 10**12
    for _ in range(2):
        await orders.renew()
        assert orders.current() == ([signed] if allowed else [])
    await watch.look()
    if allowed:
        assert "loses" in watch.warnings()[-1]
        assert "on offer all the same" in watch.warnings()[-1]
    else:
        (why,) = orders.refused.values()
        assert "not offered" in why
        assert f"tally pool orders cancel {order_hash(signed, shop.hub.domain)}" in why
    gas.wei = 1
    await orders.renew()
    assert orders.current() == [signed], "the same one, not another"
    assert not orders.refused
    assert not [each for each in watch.warnings() if "loses" in each]


async def test_the_operator_is_warned_before_the_stake_is_too_small(shop: Shop):
    """The scheduler of this chain has a deposit of 10,000 RLC, less what tests locked."""
    owner = shop.chain.scheduler.address
    free = (await shop.hub.account(owner)).stake
    price = free
    order = replace(XS, price=price, volume=100).order(shop.chain.workerpool, Hash(bytes(32)))
    watch = MoneyWatch(
        hub=shop.hub,
        owner=owner,
        config=settings(shop),
        fees=Fees(),
        on_offer=lambda: [(order, 50)],
    )
    assert watch.warnings() == [
        "What the pool's wallet has is not known: no node has told it yet."
    ]
    await watch.look()
    (cover,) = watch.covers()
    assert cover.tasks == free // (price * 30 // 100)
    assert cover.needed == price * 30 // 100 * 50
    (warning,) = watch.warnings()
    assert warning.startswith(f"Only {cover.tasks} tasks can be bought of category 0")
    assert f"Deposit {price * 30 // 100 * 10 - free} nRLC" in warning
    call = shop.hub.calls.withdraw(free)
    await shop.owner.send(call)
    await watch.look()
    (warning,) = watch.warnings()
    assert warning.startswith("Nobody can buy a task of category 0")
    await shop.owner.send(shop.hub.calls.deposit(free))


def settings(shop: Shop, **more: Any) -> SchedulerConfig:
    return SchedulerConfig(
        data_dir=shop.folder,
        rpc_urls=(shop.chain.url,),
        hub=shop.chain.hub,
        workerpool=shop.chain.workerpool,
        wallet=shop.folder / "unused.json",
        password_file=shop.folder / "unused",
        results_url="http://127.0.0.1:1",
        **more,
    )
