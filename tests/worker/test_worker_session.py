"""A worker's dealings with its scheduler: nothing is lost, and nothing false is taken up."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from worker_lab import DEAL, Bench

from tallystick.chain.follow import Follower, NoteCursor
from tallystick.chain.heads import Heads
from tallystick.chain.logs import TASK_TOPICS
from tallystick.chain.watcher import Watcher
from tallystick.engine.errors import Refused, Unavailable
from tallystick.lifecycle.facts import (
    Aborted,
    AppFetched,
    Began,
    Claimed,
    Completed,
    Computed,
    ConsensusReached,
    Contributed,
    DataFetched,
    Failed,
    Finalized,
    Initialized,
    Ordered,
    Revealed,
    Started,
    Step,
)
from tallystick.lifecycle.replicate import Status
from tallystick.poco.contribution import result_hash
from tallystick.poco.values import Address, DealId, Digest, TaskId
from tallystick.wire.authorization import WorkerpoolAuthorization
from tallystick.wire.news import PoolFeed, PoolNews
from tallystick.wire.scheduler import (
    NotRegistered,
    NotYet,
    OwnOffer,
    StatusUpdate,
    Unwelcome,
    WorkerModel,
)
from tallystick.worker import grace
from tallystick.worker import session as module
from tallystick.worker.folder import TaskFolder
from tallystick.worker.session import Session, ended_folders

pytestmark = pytest.mark.anyio

DIGEST = Digest(b"\x5d" * 32)


@dataclass
class Line:
    """The scheduler's end, as a script."""

    told: list[str] = field(default_factory=list[str])
    logs: list[str] = field(default_factory=list[str])
    answer: Callable[[str], Exception | None] = lambda status: None
    offers: list[OwnOffer | Exception] = field(default_factory=list[OwnOffer | Exception])
    feed: list[PoolNews] = field(default_factory=list[PoolNews])
    cursors: list[int] = field(default_factory=list[int])
    registered: int = 0
    models: list[WorkerModel] = field(default_factory=list[WorkerModel])
    why_none: str = ""

    async def register(self, model: WorkerModel, *, takeover: bool = False) -> None:
        self.registered += 1
        self.models.append(model)

    async def ping(self) -> str:
        return "pool"

    async def demand(self, block: int, *, wait: float) -> OwnOffer | None:
        if not self.offers:
            return None
        offer = self.offers.pop(0)
        if isinstance(offer, Exception):
            raise offer
        return offer

    async def news(self, after: int, *, of: str, wait: float) -> PoolFeed:
        self.cursors.append(after)
        fresh = tuple(news for news in self.feed if news.seq > after)
        if not fresh:
            await anyio.sleep(0.01)
        return PoolFeed(news=fresh, next=max([after, *(n.seq for n in fresh)]), of="this")

    async def tell(self, task: TaskId, update: StatusUpdate) -> str:
        await checkpoint()
        if problem := self.answer(update.status):
            raise problem
        self.told.append(update.status)
        if update.details and update.details.compute_logs:
            self.logs.append(update.details.compute_logs.stdout)
        return "PLEASE_CONTINUE"


@dataclass
class Caught:
    """Tells what the chain knows of a task: that it is open."""

    worker: Bench
    head: int = 5
    asked: list[int] = field(default_factory=list[int])

    async def catch_up(self, born: Ordered, from_block: int) -> None:
        self.asked.append(from_block)
        stream = str(born.deal.task_id(born.index))
        if stream not in self.worker.engine.states:
            self.worker.engine.record(stream, born)
            self.worker.engine.record(stream, Initialized())


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE", 0.02)
    monkeypatch.setattr(module, "_AGAIN", 0.05)


@pytest.fixture
def line() -> Line:
    return Line()


def session_of(worker: Bench, line: Line) -> Session:
    parts: Any = (line, worker.hub, worker.engine, worker.journal, Caught(worker))
    return Session(worker.me, worker.config, *parts)


@asynccontextmanager
async def at(duty: Any, session: Session) -> AsyncIterator[None]:
    """Do one duty, as often as it takes, until the block is left."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(session._insist, duty)
        yield
        tasks.cancel_scope.cancel()


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(60):
        while True:
            if condition():
                return
            await anyio.sleep(0.01)


async def offered(worker: Bench, **request: Any) -> WorkerpoolAuthorization:
    """What the scheduler offers of a new deal."""
    id = worker.trade.deal(**request)
    deal = await worker.hub.deal(id)
    assert deal is not None
    task = deal.task_id(0)
    return worker.trade.permission(task, worker.me, deal=id)


def assigned(permission: WorkerpoolAuthorization, **more: Any) -> PoolNews:
    """The scheduler's news of an assignment."""
    return PoolNews(
        seq=1,
        chain_task_id=permission.chain_task_id,
        kind="Assigned",
        authorization=permission,
        **({"weight": 2} | more),
    )


async def test_an_assignment_is_taken_up_once(worker: Bench, line: Line):
    permission = await offered(worker)
    session = session_of(worker, line)
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(session._hear, assigned(permission, weight=3, from_block=17))
    task = worker.task(permission.chain_task_id)
    mine = task.replicates[worker.me]
    assert (mine.status, mine.weight) == (Status.ASSIGNED, 3)
    assert mine.authorization == permission.signature.value
    await session._hear(assigned(permission, weight=3, from_block=17))
    assert worker.task(permission.chain_task_id) == task


@asynccontextmanager
async def following(worker: Bench) -> AsyncIterator[Follower]:
    """What the worker follows the chain with, from the newest block on."""
    rpc = worker.hub.rpc
    heads = Heads(rpc, None, poll=0.02)
    watcher = Watcher(
        rpc,
        address=worker.hub.address,
        topics=TASK_TOPICS,
        cursor=NoteCursor(worker.journal),
        start=int(worker.trade.chain.rpc("eth_blockNumber"), 16),
        heads=heads,
    )
    follower = Follower(
        hub=worker.hub, watcher=watcher, engine=worker.engine, clock=worker.steps.clock
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(heads.run)
        tasks.start_soon(follower.run)
        yield follower
        tasks.cancel_scope.cancel()


async def test_no_copy_of_the_journal_knows_a_task_that_has_begun_by_its_deal_alone(
    worker: Bench, line: Line, monkeypatch: pytest.MonkeyPatch
):
    """Who is killed there, or set back to such a copy later, when the task is over and nobody
    offers it any more, would wait for its beginning for ever."""
    permission = await offered(worker)
    id, trade, ask = permission.chain_task_id, worker.trade, worker.hub.rpc.call
    trade.send(trade.chain.scheduler, trade.calls.initialize(permission.deal_id, 0))
    birth, copies, away = int(trade.chain.rpc("eth_blockNumber"), 16), list[list[str]](), True
    trade.chain.mine(2)

    async def call(method: str, *params: Any) -> Any:
        """The node is away at the worst moment, and then a copy is made."""
        if method == "eth_getLogs" and params[0]["topics"] == [None, str(id)]:
            copies.append(copied(worker))
            if away:
                raise Unavailable("away")
        return await ask(method, *params)

    monkeypatch.setattr(worker.hub.rpc, "call", call)
    worker.engine.listen(lambda entry: copies.append(copied(worker)))
    session = session_of(worker, line)
    async with following(worker) as session.follower:
        with pytest.raises(Unavailable):
            await session._hear(assigned(permission, from_block=birth))
        assert worker.engine.states == {}
        away = False
        await session._hear(assigned(permission, from_block=birth))
    assert worker.task(id).replicates[worker.me].status is Status.ASSIGNED
    assert copied(worker) == ["Ordered", "Initialized", "Assigned"]
    assert ["Ordered"] not in copies


def copied(worker: Bench) -> list[str]:
    """The facts in a copy of the journal that is made now."""
    with closing(sqlite3.connect(worker.journal.path)) as db:
        return [kind for (kind,) in db.execute("SELECT kind FROM facts ORDER BY seq")]


@pytest.mark.parametrize(
    "lie",
    [
        lambda w, p: p.model_copy(update={"worker_wallet": w.trade.chain.workers[1].address}),
        lambda w, p: p.model_copy(update={"task_index": 1}),
        lambda w, p: p.model_copy(update={"task_index": 2**255}),
        lambda w, p: p.model_copy(update={"chain_task_id": TaskId(b"\x01" * 32)}),
        lambda w, p: p.model_copy(update={"enclave_challenge": Address(b"\x01" * 20)}),
        lambda w, p: w.trade.permission(
            p.chain_task_id, w.me, deal=p.deal_id, signer=w.trade.chain.requester
        ),
    ],
    ids=["wallet", "task", "index", "id", "enclave", "signer"],
)
async def test_a_false_assignment_is_not_worth_any_work(worker: Bench, line: Line, lie: Any):
    permission = lie(worker, await offered(worker))
    session = session_of(worker, line)
    line.offers.append(OwnOffer(workerpool_authorization=permission))
    await session._demand(5)
    assert worker.engine.states == {}


async def test_an_index_beyond_the_deal_is_refused_though_it_is_signed(
    worker: Bench, line: Line
):
    good = await offered(worker)
    deal = await worker.hub.deal(good.deal_id)
    assert deal is not None
    beyond = worker.trade.permission(deal.task_id(1), worker.me, deal=deal.id)
    session = session_of(worker, line)
    await session._hear(assigned(beyond.model_copy(update={"task_index": 1})))
    assert worker.engine.states == {}


async def test_an_assignment_of_another_pool_is_refused(worker: Bench, line: Line):
    permission = await offered(worker)
    session = session_of(worker, line)
    session.config = replace(worker.config, pool=Address(b"\x09" * 20))
    await session._hear(assigned(permission))
    assert worker.engine.states == {}


async def test_what_the_node_does_not_know_yet_is_heard_again(worker: Bench, line: Line):
    """The cursor moves when news is taken up, not when it is read."""
    permission = await offered(worker)
    unknown = permission.model_copy(update={"deal_id": DealId(b"\x55" * 32)})
    line.feed = [
        PoolNews(
            seq=7,
            chain_task_id=permission.chain_task_id,
            kind="Assigned",
            weight=2,
            authorization=unknown,
        )
    ]
    session = session_of(worker, line)
    async with at(session._listen, session):
        await until(lambda: line.cursors.count(0) > 2)
        line.feed = [line.feed[0].model_copy(update={"authorization": permission})]
        await until(lambda: 7 in line.cursors)
    assert worker.me in worker.task(permission.chain_task_id).replicates


async def test_an_upload_request_that_comes_too_early_waits(worker: Bench, line: Line):
    task = await worker.replicate()
    vote = result_hash(task.id, DIGEST)
    line.feed = [
        PoolNews(seq=1, chain_task_id=task.id, kind="UploadRequested", deadline=99),
        PoolNews(seq=2, chain_task_id=TaskId(b"\x44" * 32), kind="UploadRequested", deadline=9),
        PoolNews(seq=3, chain_task_id=task.id, kind="SomethingNew"),
    ]
    session = session_of(worker, line)
    async with at(session._listen, session), at(session._place, session):
        await until(lambda: 3 in line.cursors)
        worker.after(
            task,
            Contributed(worker.me, vote, 2),
            ConsensusReached(vote, 10**10),
            Revealed(worker.me, DIGEST),
        )
        await until(
            lambda: worker.task(task.id).replicates[worker.me].upload_deadline is not None
        )
    assert worker.task(task.id).replicates[worker.me].upload_deadline == 99


async def test_who_is_not_registered_any_more_registers_again(worker: Bench, line: Line):
    line.offers.append(NotRegistered("who are you?"))
    session = session_of(worker, line)
    async with at(session._ask, session):
        await until(lambda: line.registered == 1)


async def test_no_worker_registers_for_trusted_execution(worker: Bench, line: Line):
    """Whatever the machine has: no app of ours would run inside it."""
    await session_of(worker, line).register()
    told = json.loads(line.models[0].json_bytes())
    assert (told["teeEnabled"], told["tdxEnabled"]) == (False, False)


async def test_another_ping_word_means_a_scheduler_that_began_anew(
    worker: Bench, line: Line, monkeypatch: pytest.MonkeyPatch
):
    words = iter(["one", "one", "two", "two", "two"])

    async def ping() -> str:
        return next(words)

    monkeypatch.setattr(line, "ping", ping)
    monkeypatch.setattr(module, "PING", 0)
    session = session_of(worker, line)
    for registered in (0, 0, 1, 1, 1):
        await session._ping()
        assert line.registered == registered


async def test_a_scheduler_that_does_not_wait_is_not_asked_without_end(
    worker: Bench, line: Line, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_PAUSE", 0.05)
    asked = list[float]()

    async def nothing(block: int, *, wait: float) -> None:
        asked.append(anyio.current_time())

    monkeypatch.setattr(line, "demand", nothing)
    session = session_of(worker, line)
    async with at(session._ask, session):
        await until(lambda: len(asked) >= 4)
    assert all(after - before >= 0.05 for before, after in pairwise(asked))


PROGRESS = ("STARTING", "STARTED", "APP_DOWNLOADING", "APP_DOWNLOADED")


def progress(worker: Bench, task: Any) -> None:
    me = worker.me
    worker.after(
        task, Began(me, Step.START), Started(me), Began(me, Step.FETCH_APP), AppFetched(me)
    )


async def test_every_fact_of_ours_is_told_in_order_and_the_chains_are_not(
    worker: Bench, line: Line
):
    task = await worker.replicate()
    progress(worker, task)
    session = session_of(worker, line)
    async with at(session._tell, session):
        await until(lambda: tuple(line.told) == PROGRESS)
        here = TaskFolder(worker.config.home, task.id)
        here.make()
        here.write_logs("forty-two", "")
        worker.after(task, DataFetched(worker.me), Computed(worker.me, DIGEST, 0))
        worker.after(task, Contributed(worker.me, result_hash(task.id, DIGEST), 2))
        await until(lambda: line.told[-1] == "COMPUTED")
    assert tuple(line.told) == (*PROGRESS, "DATA_DOWNLOADED", "COMPUTED")
    assert line.logs == ["forty-two"]


@pytest.mark.parametrize("trouble", [Unavailable("down"), Unwelcome("who?")], ids=repr)
async def test_a_report_is_told_until_it_arrives(worker: Bench, line: Line, trouble: Exception):
    tries = 0

    def down(status: str) -> Exception | None:
        nonlocal tries
        tries += status == "STARTED"
        return trouble if status == "STARTED" and tries < 4 else None

    line.answer = down
    progress(worker, await worker.replicate())
    session = session_of(worker, line)
    async with at(session._tell, session):
        await until(lambda: len(set(line.told)) == 4)
    assert tries == 4
    assert tuple(dict.fromkeys(line.told)) == PROGRESS


async def test_a_report_that_is_too_early_is_told_later_without_holding_up_the_rest(
    worker: Bench, line: Line
):
    early = True
    line.answer = lambda status: NotYet("") if status == "STARTED" and early else None
    progress(worker, await worker.replicate())
    session = session_of(worker, line)
    async with at(session._tell, session):
        await until(lambda: "APP_DOWNLOADED" in line.told)
        assert "STARTED" not in line.told
        early = False
        await until(lambda: "STARTED" in line.told)
    assert sorted(line.told) == sorted(PROGRESS)


async def test_the_last_report_is_told_again_to_a_scheduler_whose_node_is_behind(
    worker: Bench, line: Line, monkeypatch: pytest.MonkeyPatch
):
    """The end of a task was known here first, so the scheduler could not place it yet."""
    monkeypatch.setattr(grace, "GRACE", 60.0)
    early = True
    line.answer = lambda status: NotYet("") if status == "FAILED" and early else None
    monkeypatch.setattr(module, "to_update", lambda fact, *_, **__: _named(fact))
    task = await worker.replicate()
    worker.after(task, Began(worker.me, Step.START), Aborted(worker.me, "LATE"), Claimed())
    assert worker.engine.states[str(task.id)].status.over
    session = session_of(worker, line)
    async with at(session._tell, session):
        await until(lambda: "OTHER" in line.told)
        assert "FAILED" not in line.told
        early = False
        assert len(session._grace) == 1
        session.changes.beat()
        await until(lambda: "FAILED" in line.told)
        await until(lambda: not len(session._grace))  # nothing is kept of what was taken


def _named(fact: Any) -> StatusUpdate:
    return StatusUpdate(status="FAILED" if isinstance(fact, Aborted) else "OTHER")


async def test_what_the_scheduler_will_never_place_is_dropped_in_the_end(
    worker: Bench, line: Line, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(grace, "GRACE", 0.0)
    line.answer = lambda status: NotYet("")
    task = await worker.replicate()
    worker.after(task, Began(worker.me, Step.START), Aborted(worker.me, "LATE"), Claimed())
    session = session_of(worker, line)
    async with at(session._tell, session):
        await session.all_told()
    assert line.told == []


async def test_a_report_that_is_refused_for_good_is_dropped(worker: Bench, line: Line):
    line.answer = lambda status: Refused("never") if status == "STARTED" else None
    progress(worker, await worker.replicate())
    session = session_of(worker, line)
    async with at(session._tell, session):
        await until(lambda: "APP_DOWNLOADED" in line.told)
    assert "STARTED" not in line.told


async def test_a_message_that_is_lost_costs_that_one(worker: Bench, line: Line):
    """Else the chance that a long story comes to its end over a bad line is nothing: found in a
    whole world, seed 38, in which a worker told the same for 200 s."""
    asked: list[str] = []

    def lossy(status: str) -> Exception | None:
        asked.append(status)
        return Unavailable("lost") if asked.count(status) == 1 else None

    line.answer = lossy
    progress(worker, await worker.replicate())
    session = session_of(worker, line)
    async with at(session._tell, session):
        await session.all_told()
    assert asked == [status for status in PROGRESS for _ in range(2)]


async def test_a_restart_tells_only_what_was_not_told(worker: Bench, line: Line):
    line.answer = lambda status: Unavailable("down") if status == "APP_DOWNLOADING" else None
    progress(worker, await worker.replicate())
    first = session_of(worker, line)
    async with at(first._tell, first):
        await until(lambda: "STARTED" in line.told)
    told = list(line.told)
    line.answer = lambda status: None
    after = session_of(worker, line)
    async with at(after._tell, after):
        await after.all_told()
    assert set(line.told) == set(PROGRESS)
    assert line.told[len(told) :][-2:] == ["APP_DOWNLOADING", "APP_DOWNLOADED"]
    final = session_of(worker, Line())
    async with at(final._tell, final):
        await final.all_told()
    assert final.client.told == []  # type: ignore[attr-defined]


async def test_folders_that_nobody_will_ask_for_go(worker: Bench):
    """Of four tasks: one runs, one voted and gave up, one never voted, one is over."""
    running, voted, failed, over = [await worker.replicate(trust=16) for _ in range(4)]
    me = worker.me
    for task in (running, voted, failed, over):
        TaskFolder(worker.config.home, task.id).make()
        worker.after(task, Started(me))
    vote = result_hash(over.id, DIGEST)
    for task in (voted, over):
        worker.after(task, AppFetched(me), DataFetched(me), Computed(me, DIGEST, 0))
    worker.after(voted, Aborted(me, "UNKNOWN"))
    worker.after(failed, Failed(me, Step.FETCH_APP, "UNKNOWN"))
    worker.after(
        over,
        Contributed(me, vote, 2),
        ConsensusReached(vote, 10**10),
        Revealed(me, DIGEST),
        Finalized("{}"),
        Completed(me),
    )
    stranger = TaskFolder(worker.config.home, TaskId(b"\x99" * 32))
    stranger.make()
    for name in ("0x", "0xzz", "0x" + "AA" * 32, "notes"):
        (worker.config.home / name).mkdir()
    gone = {f.task for f in ended_folders(worker.config.home, worker.engine, me)}
    assert gone == {failed.id, over.id, stranger.task}


async def test_a_deal_that_moved_is_read_again(worker: Bench, line: Line):
    task = await worker.replicate()
    moved = replace(task.deal, start=task.deal.start - 50)
    worker.after(task, Ordered(moved, 0))
    worker.engine.record(str(DEAL.task_id(0)), Ordered(DEAL, 0))
    await session_of(worker, line).refresh_deals()
    assert worker.task(task.id).deal == task.deal
    assert worker.task(DEAL.task_id(0)).deal == DEAL, "the chain does not know it: left alone"
