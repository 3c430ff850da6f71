"""Logs without gaps and without lies, on a real node that reorganizes, dies and restarts."""

from contextlib import asynccontextmanager

import anyio
import pytest
from chain_lab import BELL, CLAIMED, Lab, rung

from tallystick.chain.heads import Heads
from tallystick.chain.rpc import Rpc
from tallystick.chain.watcher import Blocks, Memory, Rollback, Watcher

pytestmark = pytest.mark.anyio


class Story:
    """A consumer: it keeps what is told, drops what is void, and saves how far it got."""

    def __init__(self, rpc: Rpc, *, cursor=None, heads=None, **options) -> None:
        self.cursor = cursor or Memory()
        self.watcher = Watcher(
            rpc, address=BELL, topics=[CLAIMED], cursor=self.cursor, heads=heads, **options
        )
        self.told: list[tuple[int, int]] = []
        self.news: list[Blocks | Rollback] = []
        self.moved = anyio.Event()

    async def run(self) -> None:
        async for news in self.watcher.follow():
            self.news.append(news)
            if isinstance(news, Rollback):
                self.told = [(block, n) for block, n in self.told if block <= news.to]
            else:
                self.told += [(each.at.block, *rung([each])) for each in news.logs]
            self.watcher.taken(news)
            self.moved.set()
            self.moved = anyio.Event()

    @property
    def numbers(self) -> list[int]:
        return [number for _, number in self.told]

    @property
    def rollbacks(self) -> list[int]:
        return [news.to for news in self.news if isinstance(news, Rollback)]

    async def until(self, condition) -> None:
        with anyio.fail_after(15):
            while not condition(self):
                await self.moved.wait()


@asynccontextmanager
async def telling(rpc: Rpc, ws_url: str | None = None, **options):
    heads = Heads(rpc, ws_url, poll=0.05)
    story = Story(rpc, heads=heads, **options)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(heads.run)
        tasks.start_soon(story.run)
        yield story
        tasks.cancel_scope.cancel()


async def test_everything_is_told_once_and_in_order(lab: Lab, lab_rpc: Rpc):
    for number in (1, 2):
        lab.ring(number)
    async with telling(lab_rpc, lab.ws_url) as story:
        await story.until(lambda s: s.numbers == [1, 2])
        lab.automine(False)
        for number in (3, 4, 5):
            lab.ring(number)
        lab.mine()
        lab.automine(True)
        lab.ring(6)
        await story.until(lambda s: len(s.numbers) == 6)
    assert sorted(story.numbers) == [1, 2, 3, 4, 5, 6]
    assert (story.numbers[:2], story.numbers[-1]) == ([1, 2], 6)
    last = story.news[-1]
    block = lab.call("eth_getBlockByNumber", hex(last.head.number), False)
    assert str(last.head.hash) == block["hash"] == str(last.logs[-1].at.block_hash)
    assert last.logs[-1].at.timestamp == last.head.timestamp == int(block["timestamp"], 16)


async def test_a_consumer_resumes_where_it_stopped(lab: Lab, lab_rpc: Rpc):
    lab.ring(1)
    async with telling(lab_rpc) as first:
        await first.until(lambda s: s.numbers == [1])
    lab.ring(2)
    lab.mine(300)
    lab.ring(3)
    async with telling(lab_rpc, cursor=first.cursor) as second:
        await second.until(lambda s: s.numbers == [2, 3])


async def test_reading_begins_at_the_block_it_is_told(lab: Lab, lab_rpc: Rpc):
    lab.ring(1)
    lab.mine(5)
    start = lab.height
    lab.ring(2)
    async with telling(lab_rpc, start=start) as story:
        await story.until(lambda s: s.numbers == [2])


async def test_a_reorg_takes_back_what_it_undoes(lab: Lab, lab_rpc: Rpc):
    lab.ring(1)
    fork = lab.height
    async with telling(lab_rpc, lab.ws_url) as story:
        lab.ring(2)
        lab.ring(3)
        await story.until(lambda s: s.numbers == [1, 2, 3])
        # Two blocks are replaced by empty ones, then the chain goes on.
        lab.call("anvil_reorg", 2, [])
        lab.ring(4)
        await story.until(lambda s: s.numbers == [1, 4])
    assert story.rollbacks == [fork]


async def test_what_replaces_a_block_while_it_is_read_is_told(
    lab: Lab, lab_rpc: Rpc, monkeypatch: pytest.MonkeyPatch
):
    """The chain goes back after the look that found everything in order, and before the next
    blocks are read: the block that was known last is another one now, and has a log."""
    before = lab.call("evm_snapshot")
    lab.ring(1)
    cursor = Memory()
    async with telling(lab_rpc, cursor=cursor) as story:
        await story.until(lambda s: s.numbers == [1])
    lab.mine(2)
    usual, looks = lab_rpc.batch, 0

    async def batch(requests):
        nonlocal looks
        answers = await usual(requests)
        looks += 1
        if looks == 1:
            lab.call("evm_revert", before)
            lab.ring(2)
            lab.mine(2)
        return answers

    monkeypatch.setattr(lab_rpc, "batch", batch)
    again = Story(lab_rpc, cursor=cursor)
    again.told = list(story.told)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(again.run)
        await again.until(lambda s: s.numbers == [2])
        tasks.cancel_scope.cancel()


async def test_confirmations_keep_a_reorg_from_being_noticed(lab: Lab, lab_rpc: Rpc):
    async with telling(lab_rpc, confirmations=3) as story:
        lab.ring(1)
        lab.ring(2)
        lab.call("anvil_reorg", 1, [])
        lab.ring(3)
        lab.mine(2)
        await story.until(lambda s: s.numbers == [1])
        lab.mine(1)
        await story.until(lambda s: s.numbers == [1, 3])
    assert story.rollbacks == []
    assert story.news[-1].tip.number == story.news[-1].head.number + 3


async def test_a_chain_that_got_shorter_is_rolled_back(lab: Lab, lab_rpc: Rpc):
    lab.ring(1)
    before, kept = lab.call("evm_snapshot"), lab.height
    lab.ring(2)
    lab.mine(10)
    async with telling(lab_rpc) as story:
        await story.until(lambda s: s.numbers == [1, 2])
        assert lab.call("evm_revert", before)
        await story.until(lambda s: s.rollbacks)
        assert story.rollbacks == [kept]
        lab.ring(3)
        await story.until(lambda s: s.numbers == [1, 3])


@pytest.mark.parametrize("subscribed", [True, False])
async def test_a_node_is_killed_and_restarted_from_an_older_state(
    lab: Lab, lab_rpc: Rpc, subscribed: bool
):
    lab.ring(1)
    state, kept = lab.dump(), lab.height
    async with telling(lab_rpc, lab.ws_url if subscribed else None) as story:
        lab.ring(2)
        lab.ring(3)
        await story.until(lambda s: s.numbers == [1, 2, 3])
        lab.die()
        await anyio.sleep(0.2)
        lab.rise(state)
        assert lab.height == kept
        lab.ring(4)
        await story.until(lambda s: s.numbers == [1, 4])
    assert story.rollbacks == [kept]


async def test_a_rollback_is_found_after_a_restart_of_the_consumer(lab: Lab, lab_rpc: Rpc):
    lab.ring(1)
    fork = lab.height
    lab.ring(2)
    async with telling(lab_rpc) as first:
        await first.until(lambda s: s.numbers == [1, 2])
    lab.call("anvil_reorg", 1, [])
    async with telling(lab_rpc, cursor=first.cursor) as second:
        await second.until(lambda s: s.rollbacks == [fork])
        lab.ring(3)
        await second.until(lambda s: s.numbers == [3])


async def test_a_chain_begun_anew_is_read_from_its_start(lab: Lab, second_lab: Lab, tmp_path):
    for number in (1, 2, 3):
        lab.ring(number)
    async with Rpc([lab.url]) as rpc, telling(rpc) as first:
        await first.until(lambda s: s.numbers == [1, 2, 3])
    second_lab.ring(9)
    async with Rpc([second_lab.url]) as rpc, telling(rpc, cursor=first.cursor) as second:
        await second.until(lambda s: s.numbers == [9])
    assert len(second.rollbacks) == 1


async def test_ranges_shrink_to_what_a_node_bears(lab: Lab, lab_rpc: Rpc, monkeypatch):
    for number in range(1, 6):
        lab.ring(number)
        lab.mine(40)
    asked = _limit_ranges(monkeypatch, 32)
    async with telling(lab_rpc) as story:
        await story.until(lambda s: s.numbers == [1, 2, 3, 4, 5])
    assert max(asked) > 32
    assert sum(size <= 32 for size in asked) >= 6


def _limit_ranges(monkeypatch, most: int) -> list[int]:
    """A node that refuses to look at more than `most` blocks at once, as public ones do."""
    from tallystick.chain.answers import NodeError

    asked, honest = [], Rpc.batch

    async def batch(self, requests):
        answers = await honest(self, requests)
        for place, (method, params) in enumerate(requests):
            if method == "eth_getLogs" and "fromBlock" in params[0]:
                size = int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) + 1
                asked.append(size)
                if size > most:
                    answers[place] = NodeError(-32005, "query exceeds max block range")
        return answers

    monkeypatch.setattr(Rpc, "batch", batch)
    return asked
