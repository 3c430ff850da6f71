"""A watcher asks a node no more than it has to."""

from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from chain_lab import BELL, CLAIMED, Lab, rung

from tallystick.chain.heads import Heads
from tallystick.chain.rpc import Rpc
from tallystick.chain.watcher import Blocks, Memory, Watcher

pytestmark = pytest.mark.anyio


class Counted(Rpc):
    """Keeps what was asked."""

    asked: list[str]

    async def batch(self, requests: Any) -> list[Any]:
        self.asked += [method for method, _ in requests]
        return await super().batch(requests)


async def test_a_block_costs_a_watcher_that_is_woken_by_news_one_question(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tallystick.chain.watcher.POLL", 600.0)  # it only looks at news
    found: list[int] = []
    async with Rpc([lab.url]) as others, Counted([lab.url]) as rpc:
        rpc.asked = []
        heads = Heads(others, poll=0.02)
        watcher = Watcher(rpc, address=BELL, topics=[CLAIMED], cursor=Memory(), heads=heads)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(heads.run)
            await heads.change(0, within=60)
            with anyio.fail_after(60):
                async for news in watcher.follow():
                    watcher.taken(news)
                    assert isinstance(news, Blocks)
                    found += rung(news.logs)
                    if len(found) == 5:
                        break
                    rpc.asked.clear()
                    lab.ring(len(found) + 1)
            tasks.cancel_scope.cancel()
    assert found == [1, 2, 3, 4, 5]
    assert rpc.asked == ["eth_getLogs"]


class Asked(Heads):
    """Tells how often somebody waited for a block."""

    waits = 0

    async def change(self, count: int, *, within: float) -> int:
        self.waits += 1
        return await super().change(count, within=within)


@pytest.mark.parametrize(("trust", "questions"), [(600.0, 0), (0.0, 6)])
async def test_while_no_block_comes_it_asks_only_now_and_then(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, trust: float, questions: int
):
    """Whoever tells of blocks would tell of another one; that no node answers is told all the
    same."""
    monkeypatch.setattr("tallystick.chain.watcher.POLL", 0.02)
    monkeypatch.setattr("tallystick.chain.watcher.TRUST", trust)
    async with Rpc([lab.url]) as others, Counted([lab.url]) as rpc:
        rpc.asked = []
        heads = Asked(others, poll=0.02)
        watcher = Watcher(rpc, address=BELL, topics=[CLAIMED], cursor=Memory(), heads=heads)

        async def follow() -> None:
            async for news in watcher.follow():
                watcher.taken(news)

        async def wait(times: int) -> None:
            heads.waits = 0
            while heads.waits < times:
                await checkpoint()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(heads.run)
            await heads.change(0, within=60)
            tasks.start_soon(follow)
            with anyio.fail_after(60):
                await wait(2)  # the first time for the news that there was already
                rpc.asked.clear()
                await wait(6)
            tasks.cancel_scope.cancel()
    assert rpc.asked == ["eth_getBlockByNumber"] * 2 * questions
