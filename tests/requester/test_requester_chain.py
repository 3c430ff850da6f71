"""A requester at the real contracts: buying, paying, registering, claiming."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from tallystick.chain.networks import UnconfirmedHub
from tallystick.chain.wallet import Wallet
from tallystick.poco.orders import NO_DATASET_ORDER
from tallystick.poco.values import Address, Hash, TaskId
from tallystick.requester import accounts, claim, deals, money
from tallystick.requester.assets import app_order, dataset_order, register_dataset
from tallystick.requester.buy import Purchase, buy
from tallystick.requester.orders import Wish, app_offer, pool_offers, signed, workerpool_offer
from tallystick.requester.refusals import CannotBuy, NoSuchThing
from tallystick.requester.session import Place, Session, open_session

pytestmark = pytest.mark.anyio

RLC = 10**9
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def chain(shared_chain):
    return shared_chain


@pytest.fixture
def me(chain) -> Wallet:
    return Wallet(chain.requester.key)


def place(chain, folder: Path) -> Place:
    return Place(
        chain_id=chain.chain_id,
        rpc_urls=(chain.url,),
        ws_url=None,
        hub=chain.hub,
        trust_hub=chain.hub,
        rlc=chain.rlc,
        scheduler_url=NOWHERE,
        results_url=NOWHERE,
        book=folder / "orders.json",
        state=folder / "client",
        private=True,
    )


@asynccontextmanager
async def market(chain, folder: Path) -> AsyncIterator[Session]:
    """A session at the chain, with offers of the test pool and the test app on the book."""
    async with open_session(place(chain, folder)) as session:
        pool, owner = Wallet(chain.scheduler.key), Wallet(chain.app_owner.key)
        domain = session.hub.domain
        offers = pool_offers(
            chain.workerpool, categories={0: RLC, 1: 2 * RLC}, owner=pool, domain=domain
        )
        app = app_offer(chain.app, price=7, owner=owner, domain=domain)
        session.publish(*offers, app)
        yield session


async def bought(session: Session, me: Wallet, wish: Wish) -> list[Purchase]:
    (app,) = session.book.apps
    return [each async for each in buy(session, me, wish, app=app, dataset=NO_DATASET_ORDER)]


async def test_a_task_is_bought_with_the_deposit(chain, me, tmp_path):
    async with market(chain, tmp_path) as session:
        before = await session.hub.account(me.address)
        (purchase,) = await bought(session, me, Wish(trust=5, params='{"iexec_args":"x"}'))
        after = await session.hub.account(me.address)
    assert before.stake - after.stake == RLC + 7 == after.locked - before.locked
    assert (purchase.deal.trust, purchase.deal.params) == (5, '{"iexec_args":"x"}')
    assert purchase.deal.worker_stake == RLC * 30 // 100
    assert len(purchase.tasks) == 1


async def test_several_tasks_are_one_deal(chain, me, tmp_path):
    async with market(chain, tmp_path) as session:
        (purchase,) = await bought(session, me, Wish(count=3, category=1))
        listed = await deals.deals_of(session, me.address)
        tasks = await deals.tasks_of(session, purchase.deal)
        found = await deals.find_task(session, purchase.tasks[2])
    assert len(set(purchase.tasks)) == 3
    assert listed[0] == purchase.deal
    assert [task.id for task in tasks] == list(purchase.tasks)
    assert (found.index, found.on_chain) == (2, None)


async def test_offers_that_run_out_make_several_deals(chain, me, tmp_path):
    async with market(chain, tmp_path) as session:
        pool = Wallet(chain.scheduler.key)
        usual = workerpool_offer(
            chain.workerpool, category=2, price=9, owner=pool, domain=session.hub.domain
        )
        small = signed(replace(usual, volume=2, price=5), session.hub.domain, pool)
        session.publish(small, usual)
        purchases = await bought(session, me, Wish(count=3, category=2))
    assert [(p.deal.bot_size, p.deal.workerpool.price) for p in purchases] == [(2, 5), (1, 9)]
    assert len({task for p in purchases for task in p.tasks}) == 3


async def test_too_little_deposited_is_said_with_the_way_out(chain, tmp_path):
    poor = Wallet(b"\x07" * 32)
    chain.fund(poor.address, wei=10**18, rlc=5 * RLC)
    async with market(chain, tmp_path) as session:
        with pytest.raises(CannotBuy, match=r"tally account deposit 1\.000000007 RLC"):
            await bought(session, poor, Wish())
        with pytest.raises(accounts.NotEnough, match=r"has 5\.000000000 RLC"):
            await accounts.deposit(session, poor, 6 * RLC)
        await accounts.deposit(session, poor, 2 * RLC)
        (purchase,) = await bought(session, poor, Wish())
        with pytest.raises(accounts.NotEnough, match="locked in deals"):
            await accounts.withdraw(session, poor, RLC)
        await accounts.withdraw(session, poor, RLC - 7)
        has = await accounts.holdings(session, poor.address)
    assert purchase.deal.requester == poor.address
    assert (has.stake, has.locked, has.wallet) == (0, RLC + 7, 4 * RLC - 7)


async def test_a_scheduler_that_cannot_stake_is_foreseen(chain, me, tmp_path):
    async with market(chain, tmp_path) as session:
        dear = workerpool_offer(
            chain.workerpool,
            category=3,
            price=9_000 * RLC,
            owner=Wallet(chain.scheduler.key),
            domain=session.hub.domain,
        )
        session.publish(dear)
        chain.fund(me.address, wei=1, deposit=100_000 * RLC)
        with pytest.raises(CannotBuy, match="cannot lock"):
            await bought(session, me, Wish(category=3, count=4))


async def test_two_programs_with_one_wallet_take_turns(chain, me, tmp_path):
    async with market(chain, tmp_path) as session, market(chain, tmp_path) as other:
        before = await session.hub.account(me.address)
        async with anyio.create_task_group() as both:
            both.start_soon(accounts.deposit, session, me, RLC)
            both.start_soon(accounts.deposit, other, me, 2 * RLC)
        after = await session.hub.account(me.address)
    assert after.stake == before.stake + 3 * RLC


async def test_a_dataset_is_registered_once(chain, me, tmp_path):
    async with market(chain, tmp_path) as session:
        content = {"name": "corpus", "url": "http://127.0.0.1/c", "checksum": Hash(b"\5" * 32)}
        first = await register_dataset(session, me, **content)
        assert await register_dataset(session, me, **content) == first
        order = await dataset_order(session, me, str(first))
        stored = await session.hub.dataset(first)
        (app,) = session.book.apps
        (purchase,) = [p async for p in buy(session, me, Wish(), app=app, dataset=order)]
    assert (stored.owner, stored.checksum) == (me.address, content["checksum"])
    assert purchase.deal.dataset.pointer == first
    assert order.requester_restrict == me.address


async def test_somebody_elses_app_without_an_offer_is_refused(chain, me, tmp_path):
    async with open_session(place(chain, tmp_path)) as session:
        with pytest.raises(CannotBuy, match="Nobody offers the app"):
            await app_order(session, me, str(chain.app), {})
        with pytest.raises(CannotBuy, match="digits"):
            await app_order(session, me, "digit", {"digits": chain.app})


async def test_money_of_a_task_that_nobody_began_comes_back(chain, me, tmp_path):
    async with market(chain, tmp_path) as session:
        before = await session.hub.account(me.address)
        (purchase,) = await bought(session, me, Wish(category=1))
        deal, index = purchase.deal, purchase.deal.bot_first
        with pytest.raises(claim.NotClaimable, match="may still be finished"):
            await claim.claim(session, me, deal, index)
        chain.set_time(deal.final_deadline)
        assert await claim.claim(session, me, deal, index) == deal.task_price
        assert await session.hub.account(me.address) == before
        with pytest.raises(claim.NotClaimable, match="FAILED already"):
            await claim.claim(session, me, deal, index)
        settled = await money.settlement(session, purchase.tasks[0], since=purchase.block)
        assert settled.block is not None


async def test_what_is_not_there_is_said(chain, me, tmp_path):
    async with market(chain, tmp_path) as session:
        with pytest.raises(NoSuchThing, match="no task"):
            await deals.find_task(session, TaskId(b"\1" * 32))
    with pytest.raises(UnconfirmedHub, match="chain 31337, not chain 1"):
        async with open_session(replace(place(chain, tmp_path), chain_id=1)):
            pass


async def test_no_money_goes_to_a_hub_that_nobody_vouches_for(chain, me, tmp_path):
    """A deposit needs a session, and there is none at an unconfirmed hub."""
    unknown = replace(place(chain, tmp_path), trust_hub=None)
    with pytest.raises(UnconfirmedHub, match=f"--trust-hub {chain.hub}"):
        async with open_session(unknown):
            pass
    with pytest.raises(UnconfirmedHub, match="not with RLC at 0x01"):
        async with open_session(replace(place(chain, tmp_path), rlc=Address(b"\1" * 20))):
            pass
    async with open_session(place(chain, tmp_path)) as session:
        await accounts.deposit(session, me, 1)
