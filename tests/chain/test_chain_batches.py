"""Bags of tasks on the real contracts: opened, and ended, many in one transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from market_orders import orders

from tallystick.chain.abi import topic
from tallystick.chain.contracts import SCHEDULER_NOTICE
from tallystick.chain.hub import Hub
from tallystick.chain.records import TaskState
from tallystick.chain.sender import Sender
from tallystick.chain.wallet import Wallet
from tallystick.engine.clock import ChainClock
from tallystick.lifecycle.agenda import Claim, ClaimUnopened, Initialize, PoolCommand
from tallystick.poco.deal import Deal
from tallystick.poco.values import DealId
from tallystick.scheduler.steps import PoolSteps

pytestmark = pytest.mark.anyio

NOTICE = topic(SCHEDULER_NOTICE)


@dataclass
class Bag:
    """A deal of many tasks, and the hands of its scheduler."""

    chain: Any
    hub: Hub
    deal: Deal
    sender: Sender
    steps: PoolSteps

    def openings(self) -> list[Initialize]:
        deal = self.deal
        return [Initialize(deal.task_id(i), deal.id, i) for i in deal.indices]

    async def do(self, commands: Iterable[PoolCommand]) -> None:
        """All at once, as the engine does."""
        async with anyio.create_task_group() as tasks:
            for command in commands:
                tasks.start_soon(self.steps.perform, command)

    async def states(self) -> set[TaskState]:
        found = set()
        for index in self.deal.indices:
            task = await self.hub.task(self.deal.task_id(index))
            found.add(TaskState.UNSET if task is None else task.state)
        return found

    @property
    def sent(self) -> int:
        """Transactions of the scheduler so far, mined or not."""
        who = str(self.chain.scheduler.address)
        return int(self.chain.rpc("eth_getTransactionCount", who, "pending"), 16)


@asynccontextmanager
async def hands(chain: Any, hub: Hub, deal: Deal, book: Path) -> AsyncIterator[Bag]:
    sender = Sender(hub.rpc, Wallet(chain.scheduler.key), book, chain_id=chain.chain_id)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sender.run)
        yield Bag(chain, hub, deal, sender, PoolSteps(hub, sender, ChainClock()))
        tasks.cancel_scope.cancel()
    sender.close()


async def bought(chain: Any, hub: Hub, volume: int) -> Deal:
    """A deal of so many tasks."""
    terms = orders(chain, hub.domain, volume=volume, salt=int(chain.now) + volume)
    call = hub.calls.match_orders(*terms)
    receipt = chain.transact(chain.requester.address, call.to, call.data)
    assert receipt["status"] == "0x1"
    (notice,) = [log for log in receipt["logs"] if log["topics"][0] == str(NOTICE)]
    deal = await hub.deal(DealId(notice["data"]))
    assert deal is not None
    return deal


async def test_a_bag_is_opened_twenty_at_a_time(shared_chain, hub: Hub, tmp_path: Path):
    deal = await bought(shared_chain, hub, 45)
    async with hands(shared_chain, hub, deal, tmp_path / "book.db") as bag:
        before = bag.sent
        await bag.do(bag.openings())
        assert bag.sent - before == 3
        assert await bag.states() == {TaskState.ACTIVE}


async def test_what_somebody_else_opened_does_not_stop_the_others(
    shared_chain, hub: Hub, tmp_path: Path
):
    deal = await bought(shared_chain, hub, 5)
    call = hub.calls.initialize(deal.id, deal.indices[2])
    shared_chain.transact(shared_chain.requester.address, call.to, call.data)
    async with hands(shared_chain, hub, deal, tmp_path / "book.db") as bag:
        await bag.do(bag.openings())
        assert await bag.states() == {TaskState.ACTIVE}


async def test_whoever_leaves_does_not_take_the_others_along(
    shared_chain, hub: Hub, tmp_path: Path
):
    deal = await bought(shared_chain, hub, 4)
    shared_chain.automine(False)
    async with hands(shared_chain, hub, deal, tmp_path / "book.db") as bag:
        before, first = bag.sent, anyio.CancelScope()

        async def leave(command: PoolCommand) -> None:
            with first:
                await bag.steps.perform(command)

        async with anyio.create_task_group() as tasks:
            leaving, *staying = bag.openings()
            tasks.start_soon(leave, leaving)
            for command in staying:
                tasks.start_soon(bag.steps.perform, command)
            with anyio.fail_after(30):
                while bag.sent == before:  # noqa: ASYNC110 (a node)
                    await anyio.sleep(0.02)
            first.cancel()
            shared_chain.automine(True)
            shared_chain.mine()
        assert bag.sent - before == 1
        assert await bag.states() == {TaskState.ACTIVE}


async def test_after_a_crash_nothing_is_signed_twice(shared_chain, hub: Hub, tmp_path: Path):
    deal = await bought(shared_chain, hub, 6)
    shared_chain.automine(False)
    async with hands(shared_chain, hub, deal, tmp_path / "book.db") as bag:
        before = bag.sent
        with anyio.move_on_after(30) as scope:
            async with anyio.create_task_group() as tasks:
                for command in bag.openings():
                    tasks.start_soon(bag.steps.perform, command)
                while bag.sent == before:  # noqa: ASYNC110 (a node)
                    await anyio.sleep(0.02)
                scope.cancel()
    async with hands(shared_chain, hub, deal, tmp_path / "book.db") as bag:
        async with anyio.create_task_group() as tasks:
            # In another order, and not all in one turn: they are in that transaction already.
            for command in reversed(bag.openings()):
                tasks.start_soon(bag.steps.perform, command)
                await anyio.lowlevel.checkpoint()
            shared_chain.automine(True)
            shared_chain.mine()
        assert bag.sent - before == 1
        assert await bag.states() == {TaskState.ACTIVE}


async def test_what_came_to_nothing_is_claimed_together(shared_chain, hub: Hub, tmp_path: Path):
    deal = await bought(shared_chain, hub, 30)
    async with hands(shared_chain, hub, deal, tmp_path / "book.db") as bag:
        opened, unopened = bag.openings()[:12], bag.openings()[12:]
        await bag.do(opened)
        shared_chain.set_time(deal.final_deadline + 1)
        before = bag.sent
        await bag.do(
            [
                *(Claim(each.task) for each in opened),
                *(ClaimUnopened(each.task, deal.id, each.index) for each in unopened),
            ]
        )
        assert bag.sent - before == 2
        assert await bag.states() == {TaskState.FAILED}
