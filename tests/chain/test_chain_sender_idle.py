"""A sender of whose transactions none waits asks next to nothing, and misses nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from chain_lab import Lab, ring, rung

from tallystick.chain import sender as sending
from tallystick.chain.heads import Heads
from tallystick.chain.rpc import Rpc
from tallystick.chain.sender import Sender
from tallystick.engine.errors import Unavailable

pytestmark = pytest.mark.anyio

BLOCKS = 10
LOOKS = 4
"""How often the sender could have asked between two blocks."""


class Counted(Rpc):
    """Keeps what was asked, and tells it a block of before when it is to."""

    asked: list[str]
    behind = 0

    async def batch(self, requests: Any) -> list[Any]:
        self.asked += [method for method, _ in requests]
        answers = await super().batch(requests)
        if self.behind and requests[-1][0] == "eth_blockNumber":
            self.behind -= 1
            answers[-1] = hex(int(answers[-1], 16) - 1)
        return answers


class Mute(Rpc):
    """Sends nothing."""

    async def call(self, method: str, *params: Any) -> Any:
        if method == "eth_sendRawTransaction":
            raise Unavailable("The program was killed before this.")
        return await super().call(method, *params)


@asynccontextmanager
async def idle(lab: Lab, book: Path, rpc: Counted) -> AsyncIterator[tuple[Sender, Heads]]:
    """A running sender whose only transaction is mined, and the news it goes by."""
    rpc.asked = []
    with anyio.fail_after(60):
        async with Rpc([lab.url]) as others, anyio.create_task_group() as tasks:
            heads = Heads(others, poll=0.02)
            sender = Sender(rpc, lab.wallet(), book, chain_id=31337, heads=heads)
            tasks.start_soon(heads.run)
            tasks.start_soon(sender.run)
            await sender.send(ring(1))
            yield sender, heads
            tasks.cancel_scope.cancel()


async def rest(sender: Sender) -> None:
    """Until it could have looked a few times."""
    for _ in range(LOOKS):
        await sender._looked.wait()


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return tmp_path / "book.sqlite"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "_IDLE_PAUSE", 0.02)
    monkeypatch.setattr(sending, "TRUST", 600.0)


async def test_a_block_costs_an_idle_sender_one_short_question(lab: Lab, book: Path):
    """The next nonce: enough to see that a transaction was forgotten, or is a stranger's."""
    async with Counted([lab.url]) as rpc, idle(lab, book, rpc) as (sender, heads):
        await rest(sender)
        rpc.asked.clear()
        for _ in range(BLOCKS):
            seen = heads.count
            lab.mine()
            while heads.latest is None or heads.latest.number < lab.height:
                seen = await heads.change(seen, within=60)
            await rest(sender)
    assert rpc.asked == ["eth_getTransactionCount", "eth_blockNumber"] * BLOCKS


async def test_without_a_block_it_asks_nothing(lab: Lab, book: Path):
    async with Counted([lab.url]) as rpc, idle(lab, book, rpc) as (sender, _):
        await rest(sender)
        rpc.asked.clear()
        for _ in range(BLOCKS):
            await rest(sender)
    assert rpc.asked == []


async def test_a_node_that_is_behind_is_asked_once_more(lab: Lab, book: Path):
    """It does not know yet what the block that was heard of did."""
    async with Counted([lab.url]) as rpc, idle(lab, book, rpc) as (sender, heads):
        await rest(sender)
        rpc.asked.clear()
        rpc.behind = 2
        seen = heads.count
        lab.mine()
        await heads.change(seen, within=60)
        await rest(sender)
        await rest(sender)
    assert rpc.asked == ["eth_getTransactionCount", "eth_blockNumber"] * 3


async def test_what_another_program_leaves_in_the_book_is_sent_all_the_same(
    lab: Lab, book: Path
):
    """A command of the operator that was killed, while no block comes."""
    async with Counted([lab.url]) as rpc, idle(lab, book, rpc) as (sender, _):
        await rest(sender)
        async with Mute([lab.url]) as mute, anyio.create_task_group() as tasks:
            command = Sender(mute, lab.wallet(), book, chain_id=31337)
            tasks.start_soon(command.send, ring(2))
            while not sender.pending:
                await sender._looked.wait()
            tasks.cancel_scope.cancel()
        assert rung((await sender.send(ring(2))).logs) == [2]
        assert sender.foreign == ()


async def test_a_transaction_that_is_lost_while_nothing_waits_is_sent_again(
    lab: Lab, book: Path
):
    async with Counted([lab.url]) as rpc, idle(lab, book, rpc) as (sender, _):
        await rest(sender)
        lab.call("anvil_reorg", 1, [])
        assert lab.count(lab.wallet()) == 0
        while lab.count(lab.wallet()) == 0:
            await rest(sender)
