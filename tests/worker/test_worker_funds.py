"""What closes the gate for new work, and what is said about it, by real balances."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from worker_lab import Bench, bench

from tallystick.chain.answers import NodeError
from tallystick.chain.fees import CONTRIBUTE_GAS, GWEI
from tallystick.chain.heads import Heads
from tallystick.chain.pending import Pending
from tallystick.chain.rpc import Rpc
from tallystick.chain.standing import Purse
from tallystick.lifecycle.facts import Aborted, Claimed, Started
from tallystick.worker.funds import Funds

pytestmark = pytest.mark.anyio


@pytest.fixture
async def worker(trade: Any, hub: Any, tmp_path: Path) -> AsyncIterator[Bench]:
    made = bench(trade, hub, tmp_path, worker=1)
    yield made
    made.sender.close()
    made.journal.close()


@pytest.fixture
def funds(worker: Bench) -> Funds:
    return worker.steps.votes.funds


def price_now(worker: Bench) -> int:
    return worker.steps.votes.funds.fees.price(int(worker.trade.chain.rpc("eth_gasPrice"), 16))


def set_balance(worker: Bench, wei: int) -> None:
    worker.trade.chain.rpc("anvil_setBalance", str(worker.me), hex(wei))


async def set_free(worker: Bench, nrlc: int) -> None:
    """So much of the deposit is left free."""
    account = await worker.hub.account(worker.me)
    if account.stake > nrlc:
        call = worker.trade.calls.withdraw(account.stake - nrlc)
        worker.trade.chain.transact(worker.me, call.to, call.data)
    elif account.stake < nrlc:
        worker.trade.chain.fund(worker.me, deposit=nrlc - account.stake)
    await worker.steps.votes.funds.refresh()


async def test_balances_are_measured_by_the_price_of_now_and_said_once_a_change(
    worker: Bench, funds: Funds, caplog: Any
):
    """The figures by the price that would be paid, and by the cap beside them."""
    caplog.set_level("INFO")
    price = price_now(worker)
    assert price < funds.fees.cap
    try:
        set_balance(worker, 5 * CONTRIBUTE_GAS * price)
        for _ in range(3):
            await funds.refresh()
        assert caplog.text.count("ETH balance very low, should refill gas now") == 1
        assert "estimateTxNb:5 at" in caplog.text
        assert "at the cap of 22 gwei]" in caplog.text
        assert funds.closed() is None
        set_balance(worker, CONTRIBUTE_GAS * price - 1)
        for _ in range(3):
            await funds.refresh()
        assert caplog.text.count("ETH balance is empty, please refill gas now") == 1
        reason = funds.closed()
        assert reason is not None
        assert reason.code == "OUT_OF_GAS"
        assert f"[walletAddress:{worker.me}]" in reason.sentence
        set_balance(worker, 10**18)
        await funds.refresh()
        assert caplog.text.count("ETH balance is fine") == 1
        assert funds.closed() is None
    finally:
        set_balance(worker, 10**21)


async def test_what_no_node_tells_is_unknown_and_the_last_known_counts(
    worker: Bench, funds: Funds, monkeypatch: Any
):
    assert funds.closed() is None, "nothing is known yet"
    assert (funds.tank, funds.free_stake, funds.age) == (None, None, None)
    await funds.refresh()
    before = funds.known
    batch = worker.hub.rpc.batch

    async def silent(requests: Any) -> Any:
        answers = await batch(requests)
        return [NodeError(-32000, "not now") for _ in answers]

    monkeypatch.setattr(worker.hub.rpc, "batch", silent)
    await funds.refresh()
    assert funds.known == Purse(account=before.account, balance=before.balance, gas_price=None)
    assert funds.closed() is None
    tank = funds.tank
    assert tank is not None
    assert tank.price == funds.fees.cap, "an unknown price is the cap"


async def test_where_gas_is_free_no_balance_is_looked_at(worker: Bench, funds: Funds):
    set_balance(worker, 0)
    try:
        funds.free_gas = True
        await funds.refresh()
        assert funds.closed() is None
    finally:
        set_balance(worker, 10**21)


async def test_every_task_under_way_has_its_stake_reserved(worker: Bench, funds: Funds):
    await set_free(worker, 9)
    assert funds.closed() is None, "no task was seen yet: nobody knows what one locks"
    first = worker.after(await worker.replicate(price=10), Started(worker.me))
    await set_free(worker, 9)
    assert (funds.free_stake, funds.more_tasks) == (6, 2)
    second = await worker.replicate(price=10)
    assert await funds.objection(second) is None
    third = await worker.replicate(price=20)
    assert (funds.free_stake, funds.more_tasks) == (-3, 0)
    assert await funds.objection(second) is None, "taken up before the third"
    reason = await funds.objection(third)
    assert reason is not None
    assert reason.code == "STAKE_TOO_LOW"
    assert reason.sentence == (
        "A vote locks 0.000000006 RLC; 0.000000009 RLC are free on the hub and 0.000000006 RLC"
        " of them are promised to tasks under way: deposit 0.000000003 RLC more."
    )
    worker.after(third, Aborted(worker.me, "ABORTED_BY_WORKER"))
    closed = funds.closed()
    assert closed is None, "nine are free, six promised: one more of three fits"
    await set_free(worker, 8)
    closed = funds.closed()
    assert closed is not None
    assert "deposit 0.000000001 RLC more" in closed.sentence
    # What ends gives its part back.
    worker.after(first, Claimed())
    assert funds.closed() is None
    await set_free(worker, 10**9)


async def test_a_chain_that_is_dearer_than_the_cap(
    worker: Bench, funds: Funds, monkeypatch: Any
):
    waits = Pending(
        what="reveal 0x01",
        nonce=3,
        since=1_800_000_000.5,
        price=88 * GWEI,
        cap=88 * GWEI,
        capped=True,
    )
    await funds.refresh()
    monkeypatch.setattr(type(worker.sender), "pending", property(lambda self: (waits,)))
    task = await worker.replicate()
    with funds.revealing(task):
        reason = funds.closed()
        assert reason is not None
        assert reason.code == "GAS_PRICE_CAP"
        assert "the cap of 88 gwei" in reason.sentence
        assert "reveal 0x01 waits since 2027-01-15 08:00:00 UTC" in reason.sentence
        assert "A reveal is due by" in reason.sentence


async def test_an_idle_worker_asks_seldom(
    trade: Any, hub: Any, tmp_path: Path, monkeypatch: Any
):
    """A chain may make four blocks a second: nothing wrong, nothing asked."""
    asked = 0
    refresh = Funds.refresh

    async def counted(self: Funds) -> None:
        nonlocal asked
        asked += 1
        await refresh(self)

    monkeypatch.setattr(Funds, "refresh", counted)
    worker = bench(trade, hub, tmp_path, worker=1)
    async with Rpc([trade.chain.url]) as rpc:
        heads = Heads(rpc, poll=0.02)
        funds = Funds(worker.me, hub, worker.sender, worker.steps.votes.funds.fees, heads=heads)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(heads.run)
            tasks.start_soon(funds.run)
            with anyio.fail_after(60):
                while heads.count < 8:
                    trade.chain.mine()
                    await anyio.sleep(0.03)
            tasks.cancel_scope.cancel()
    assert asked <= 2
    worker.sender.close()
    worker.journal.close()
