"""The chain as facts: told once, taken back by a reorg, and read when a node is away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args

import anyio
import pytest
from worker_lab import Trade

from tallystick.chain.abi import topic
from tallystick.chain.contracts import SCHEDULER_NOTICE
from tallystick.chain.follow import Follower, NoteCursor
from tallystick.chain.heads import Heads
from tallystick.chain.hub import Hub
from tallystick.chain.logs import TASK_TOPICS
from tallystick.chain.rpc import Rpc
from tallystick.chain.watcher import Watcher
from tallystick.engine.clock import ChainClock
from tallystick.engine.engine import Engine
from tallystick.engine.errors import Unavailable
from tallystick.engine.journal import Journal
from tallystick.lifecycle.facts import (
    ConsensusReached,
    Contributed,
    Fact,
    Initialized,
    Ordered,
    Revealed,
)
from tallystick.lifecycle.task import TaskStatus
from tallystick.poco.contribution import result_hash, result_seal
from tallystick.poco.deal import Deal
from tallystick.poco.params import DealParams, encode_params
from tallystick.poco.values import Digest, TaskId
from tallystick.scheduler.config import SchedulerConfig
from tallystick.scheduler.deals import births
from tallystick.scheduler.inside import PoolEngine
from tallystick.scheduler.pool import PoolRules

pytestmark = pytest.mark.anyio

DIGEST = Digest(b"\x5d" * 32)


async def nothing(command: object) -> Fact | None:
    raise AssertionError("the engine of these tests is not working")


class Watch:
    """A scheduler's engine that follows the chain of a fixture."""

    def __init__(self, chain: Any, hub: Hub, folder: Path) -> None:
        self.chain, self.hub, self.trade = chain, hub, Trade(chain)
        self.journal = Journal[Fact](folder / "journal.db", get_args(Fact))
        clock = ChainClock()
        self.engine: PoolEngine = Engine(
            journal=self.journal, rules=PoolRules(clock), perform=nothing
        )
        self.heads = Heads(hub.rpc, None, poll=0.02)
        self.config = SchedulerConfig(
            data_dir=folder,
            rpc_urls=(chain.url,),
            hub=chain.hub,
            workerpool=chain.workerpool,
            wallet=folder,
            password_file=folder,
            results_url="http://results",
        )
        watcher = Watcher(
            hub.rpc,
            address=hub.address,
            topics=(topic(SCHEDULER_NOTICE), *TASK_TOPICS),
            cursor=NoteCursor(self.journal),
            heads=self.heads,
        )
        self.follower = Follower(
            hub=hub,
            watcher=watcher,
            engine=self.engine,
            clock=clock,
            births=births(hub, self.config.workerpool, self.engine.record),
        )

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.heads.run)
            tasks.start_soon(self.follower.run)
            yield
            tasks.cancel_scope.cancel()

    async def until(self, condition: Callable[[], bool]) -> None:
        with anyio.fail_after(60):
            while True:
                if condition():
                    return
                await anyio.sleep(0.01)

    async def taken(self) -> None:
        """Everything up to the newest block is recorded."""
        height = int(self.chain.rpc("eth_blockNumber"), 16)
        await self.until(lambda: self.follower.head >= height)

    def status(self, task: TaskId) -> TaskStatus | None:
        known = self.engine.states.get(str(task))
        return known.status if known else None

    def facts(self, task: TaskId) -> list[Fact]:
        return [entry.fact for entry in self.journal.read(stream=str(task))]

    def contribute(self, task: TaskId, deal: Any, number: int = 0) -> None:
        worker = self.chain.workers[number]
        call = self.trade.calls.contribute(
            task,
            result_hash(task, DIGEST),
            result_seal(worker.address, task, DIGEST),
            authorization=self.trade.permission(
                task, worker.address, deal=deal
            ).signature.value,
        )
        self.trade.send(worker, call)


@pytest.fixture
async def watch(chain: Any, tmp_path: Path) -> AsyncIterator[Watch]:
    async with Rpc([chain.url]) as rpc:
        made = Watch(chain, await Hub.open(rpc, chain.hub), tmp_path)
        yield made
        made.journal.close()


def task_of(deal: Any, index: int = 0) -> TaskId:
    return Deal(deal, start=0, time_unit=1, trust=1).task_id(index)


async def test_a_task_from_its_deal_to_its_reveal(watch: Watch):
    chain, trade = watch.chain, watch.trade
    deal = trade.deal()
    task, me = task_of(deal), chain.workers[0].address
    async with watch.following():
        await watch.until(lambda: watch.status(task) is TaskStatus.UNSET)
        trade.send(chain.scheduler, trade.calls.initialize(deal, 0))
        watch.contribute(task, deal)
        trade.send(chain.workers[0], trade.calls.reveal(task, DIGEST))
        await watch.taken()
    known = await watch.hub.deal(deal)
    onchain = await watch.hub.task(task)
    assert known is not None
    assert onchain is not None
    assert watch.facts(task) == [
        Ordered(known, 0),
        Initialized(),
        Contributed(me, result_hash(task, DIGEST), 2),
        ConsensusReached(result_hash(task, DIGEST), onchain.reveal_deadline),
        Revealed(me, DIGEST),
    ]


async def test_reading_again_tells_nothing_twice(watch: Watch):
    chain, trade = watch.chain, watch.trade
    deal = trade.deal(volume=3)
    tasks = [task_of(deal, index) for index in range(3)]
    trade.send(chain.scheduler, trade.calls.initialize(deal, 1))
    known = await watch.hub.deal(deal)
    assert known is not None
    async with watch.following():
        await watch.taken()
        before = [watch.facts(task) for task in tasks]
        await watch.follower.catch_up(Ordered(known, 1), -5)
        assert [watch.facts(task) for task in tasks] == before
    assert [len(facts) for facts in before] == [1, 2, 1]
    watch.journal.note("chain cursor", "[]")
    fresh = Watcher(
        watch.hub.rpc,
        address=watch.hub.address,
        topics=(topic(SCHEDULER_NOTICE), *TASK_TOPICS),
        cursor=NoteCursor(watch.journal),
        heads=watch.heads,
    )
    watch.follower._watcher, watch.follower.head = fresh, 0
    async with watch.following():
        await watch.taken()
    assert [watch.facts(task) for task in tasks] == before


async def test_who_is_told_of_a_vote_and_not_of_the_opening_takes_nothing_up(watch: Watch):
    """As when a reorg put the opening into an earlier block than the scheduler knows."""
    chain, trade = watch.chain, watch.trade
    watch.follower._births = None
    deal = trade.deal()
    task, known = task_of(deal), await watch.hub.deal(deal)
    assert known is not None
    trade.send(chain.scheduler, trade.calls.initialize(deal, 0))
    opened = int(chain.rpc("eth_blockNumber"), 16)
    watch.contribute(task, deal)
    async with watch.following():
        await watch.taken()
        with pytest.raises(Unavailable, match="opening"):
            await watch.follower.catch_up(Ordered(known, 0), opened + 1)
        assert watch.facts(task) == []
        await watch.follower.catch_up(Ordered(known, 0), opened)
    kinds = [type(fact) for fact in watch.facts(task)]
    assert kinds == [Ordered, Initialized, Contributed, ConsensusReached]


async def test_who_is_told_of_the_opening_by_one_of_two_nodes_takes_nothing_up(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
):
    """The first one keeps logs back; the next one is asked whether the task is there."""
    chain, trade = watch.chain, watch.trade
    watch.follower._births = None
    deal = trade.deal()
    task, known = task_of(deal), await watch.hub.deal(deal)
    assert known is not None
    async with watch.following():
        trade.send(chain.scheduler, trade.calls.initialize(deal, 0))
        opened = int(chain.rpc("eth_blockNumber"), 16)
        await watch.taken()
        with monkeypatch.context() as lie:
            lie.setattr(watch.hub.rpc, "call", no_logs)
            with pytest.raises(Unavailable, match="opening"):
                await watch.follower.catch_up(Ordered(known, 0), opened)
        assert watch.facts(task) == []
        await watch.follower.catch_up(Ordered(known, 0), opened)
    assert [type(fact) for fact in watch.facts(task)] == [Ordered, Initialized]


async def no_logs(*_: object) -> list[object]:
    """What a node tells that keeps its logs back."""
    return []


async def test_a_reorg_takes_back_what_was_told(watch: Watch):
    chain, trade = watch.chain, watch.trade
    deal = trade.deal()
    task = task_of(deal)
    async with watch.following():
        trade.send(chain.scheduler, trade.calls.initialize(deal, 0))
        watch.contribute(task, deal)
        await watch.until(lambda: watch.status(task) is TaskStatus.REVEALING)
        chain.rpc("anvil_reorg", 1, [])
        chain.mine()
        await watch.until(lambda: watch.status(task) is TaskStatus.ACTIVE)
        assert watch.engine.states[str(task)].replicates == {}
        watch.contribute(task, deal)
        await watch.until(lambda: watch.status(task) is TaskStatus.REVEALING)
        await watch.taken()
    assert sum(isinstance(fact, Contributed) for fact in watch.facts(task)) == 1


async def test_a_deal_that_is_undone_was_never_made(watch: Watch):
    chain = watch.chain
    before = chain.snapshot()
    task = task_of(watch.trade.deal())
    async with watch.following():
        await watch.until(lambda: watch.status(task) is TaskStatus.UNSET)
        chain.revert(before)
        chain.mine(3)
        await watch.until(lambda: watch.status(task) is None)
    assert watch.facts(task) == []


async def test_deals_of_other_pools_are_not_ours(watch: Watch):
    elsewhere = watch.chain.app
    watch.follower._births = births(watch.hub, elsewhere, watch.engine.record)
    watch.trade.deal()
    async with watch.following():
        await watch.taken()
    assert watch.engine.states == {}


@pytest.mark.parametrize(
    "params",
    [
        "\0",
        "{",
        "\ud7ff\U0010ffff",
        '{"iexec_args":"\\ud800"}',
        encode_params(DealParams(input_files=("http://[",), storage_proxy="http://[")),
        "[" * 1_000,
    ],
    ids=lambda params: repr(params)[:20],
)
async def test_whatever_a_requester_writes_its_task_is_born(watch: Watch, params: str):
    task = task_of(watch.trade.deal(params=params))
    async with watch.following():
        await watch.until(lambda: watch.status(task) is TaskStatus.UNSET)
    assert watch.engine.states[str(task)].deal.params == params


async def test_a_bag_is_taken_up_to_a_limit(watch: Watch, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tallystick.scheduler.deals.LARGEST_BAG", 4)
    huge = watch.trade.deal(volume=2**40, price=0, trust=1)
    last = task_of(watch.trade.deal())
    async with watch.following():
        await watch.until(lambda: watch.status(last) is TaskStatus.UNSET)
    assert len(watch.engine.states) == 5
    assert all(watch.status(task_of(huge, index)) is not None for index in range(4))


async def test_a_node_that_is_away_for_a_moment_costs_nothing(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
):
    """It answers with the block, and not when it is asked about the deal in it."""
    ask, tries = watch.hub.deal, 0

    async def away(id: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise Unavailable("the node is away")
        return await ask(id)

    monkeypatch.setattr(watch.hub, "deal", away)
    task = task_of(watch.trade.deal())
    async with watch.following():
        await watch.until(lambda: watch.status(task) is TaskStatus.UNSET)
    assert tries == 3
