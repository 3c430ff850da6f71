"""The block of the one transaction that ended a task vanishes: it ends again, paid once."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import anyio
import pytest
from market_lab import Lab, market_lab, only
from own_worker import OwnWorker, usual

from tallystick.chain.records import TaskState
from tallystick.devnet.packages import PocoPackages
from tallystick.poco.values import TaskId

pytestmark = pytest.mark.anyio

ROLES = ("worker-1", "scheduler", "requester", "app-owner")


async def balances(lab: Lab) -> dict[str, tuple[int, int]]:
    """Free and locked, by role."""
    return {role: await lab.stake(role) for role in ROLES}


async def sent(lab: Lab) -> int:
    """How many transactions of the worker the chain has."""
    me = str(lab.market.accounts["worker-1"])
    return int(await lab.session.rpc.call("eth_getTransactionCount", me, "latest"), 16)


async def state(lab: Lab, task: TaskId) -> TaskState:
    known = await lab.session.hub.task(task)
    return TaskState.UNSET if known is None else known.state


async def take_back(lab: Lab, block: int, task: TaskId) -> None:
    """Replace `block` and all after it by empty ones."""
    rpc = lab.session.rpc
    await rpc.call("evm_setIntervalMining", 0)
    try:
        head = int(await rpc.call("eth_blockNumber"), 16)
        await rpc.call("anvil_reorg", head - block + 1, [])
        assert await state(lab, task) is TaskState.ACTIVE, "the vote is gone with its block"
    finally:
        await rpc.call("evm_setIntervalMining", 1)


async def ends_again(lab: Lab, task: TaskId) -> None:
    with anyio.fail_after(120):
        while await state(lab, task) is not TaskState.COMPLETED:  # noqa: ASYNC110 (the chain)
            await anyio.sleep(0.2)


def over(story: dict[str, Any]) -> bool:
    """As the scheduler tells it after what the chain took back."""
    (mine,) = story["replicates"]
    finalized = sum(fact["kind"] == "Finalized" for fact in story["facts"])
    return finalized > 0 and mine["status"] == "completed"


async def paid(lab: Lab, worker: OwnWorker) -> tuple[TaskId, int]:
    """A task, and the block in which the worker ended it."""
    await lab.workers_are_back(1)
    ending = await lab.see(await lab.buy("corpus", "generator"))
    assert ending.paid
    assert len(worker.signed(ending.task, "finish")) == 1
    assert ending.money.block is not None
    return ending.task, ending.money.block


@pytest.mark.parametrize(
    "killed",
    [False, pytest.param(True, marks=pytest.mark.long)],
    ids=["worker alive", "worker killed"],
)
async def test_the_block_of_the_one_transaction_vanishes(
    poco_packages: PocoPackages, executor: str, tmp_path: Path, killed: bool
):
    options: dict[str, Any] = {"workers": 1, "executor": executor, "alive": 0}
    async with (
        market_lab(tmp_path, children=only(), **options) as lab,
        usual(lab) as worker,
    ):
        task, block = await paid(lab, worker)
        before, calls = await balances(lab), await sent(lab)
        if killed:
            await worker.end(signal.SIGKILL)
        await take_back(lab, block, task)
        if killed:
            await worker.start()
        await ends_again(lab, task)
        await lab.until(task, over)
        assert await balances(lab) == before, "everybody is paid once"
        assert await sent(lab) == calls
        assert len(worker.signed(task, "finish")) == 1, "it was the same vote"
        assert lab.leftovers(task) == []
        await paid(lab, worker)  # and work goes on
