"""A new scheduler decides nothing before it has read what happened before its start."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from worker_lab import Trade

from tallystick.chain.rpc import Request
from tallystick.chain.wallet import Wallet
from tallystick.chain.watcher import Blocks, Watcher
from tallystick.engine.errors import Unavailable
from tallystick.lifecycle.facts import Assigned
from tallystick.lifecycle.task import TaskStatus
from tallystick.poco.contribution import result_hash, result_seal
from tallystick.poco.deal import Deal
from tallystick.poco.values import DealId, Digest, TaskId
from tallystick.scheduler import app as program
from tallystick.scheduler.config import SchedulerConfig
from tallystick.wire import sockjs
from tallystick.wire.auth import login_digest
from tallystick.wire.scheduler import INSTANCE

pytestmark = pytest.mark.anyio

DIGEST = Digest(b"\x5d" * 32)
NOWHERE = "http://127.0.0.1:1"


class Past:
    """What happened on a chain before a scheduler starts."""

    def __init__(self, chain: Any) -> None:
        self.chain, self.trade = chain, Trade(chain)

    def task(self, deal: DealId) -> TaskId:
        return Deal(deal, start=0, time_unit=1, trust=1).task_id(0)

    def opened(self) -> tuple[DealId, TaskId]:
        deal = self.trade.deal()
        self.trade.send(self.chain.scheduler, self.trade.calls.initialize(deal, 0))
        return deal, self.task(deal)

    def voted(self, deal: DealId, number: int) -> None:
        task, worker = self.task(deal), self.chain.workers[number]
        call = self.trade.calls.contribute(
            task,
            result_hash(task, DIGEST),
            result_seal(worker.address, task, DIGEST),
            authorization=self.trade.permission(
                task, worker.address, deal=deal
            ).signature.value,
        )
        self.trade.send(worker, call)

    def settled(self, deal: DealId, number: int) -> None:
        self.voted(deal, number)
        task, calls = self.task(deal), self.trade.calls
        self.trade.send(self.chain.workers[number], calls.reveal(task, DIGEST))
        self.trade.send(self.chain.scheduler, calls.finalize(task, b"a link"))

    @property
    def height(self) -> int:
        return int(self.chain.rpc("eth_blockNumber"), 16)


class Started:
    """The shipped scheduler in this process. It signs nothing: its engine does not work."""

    def __init__(self, parts: program.Parts, chain: Any, http: httpx2.AsyncClient) -> None:
        self.parts, self.chain, self.http = parts, chain, http

    async def until(self, condition: Any) -> None:
        with anyio.fail_after(60):
            while True:
                if condition():
                    return
                await anyio.sleep(0.01)

    def status(self, task: TaskId) -> TaskStatus | None:
        known = self.parts.pool.engine.states.get(str(task))
        return known.status if known else None

    async def member(self, number: int, instance: str = "") -> dict[str, str]:
        wallet = Wallet(self.chain.workers[number].key)
        who = {"walletAddress": str(wallet.address)}
        challenge = await self.http.get("/workers/challenge", params=who)
        value = "0x" + wallet.sign_hash(login_digest(challenge.text)).hex()
        token = await self.http.post("/workers/login", params=who, json={"value": value})
        headers = {"authorization": f"Bearer {token.text}"}
        if instance:
            headers[INSTANCE] = instance
        body = {"name": f"w{number}", "cpuNb": 1, "os": "Linux"}
        answer = await self.http.post("/workers/register", json=body, headers=headers)
        assert answer.status_code == 200
        return headers

    async def demand(self, headers: dict[str, str], wait: float = 0.0) -> httpx2.Response:
        asked = {"blockNumber": 5} | ({"wait": wait} if wait else {})
        return await self.http.get("/replicates/available", params=asked, headers=headers)

    async def reasons(self) -> list[str]:
        found: list[str] = (await self.http.get("/ready")).json()["reasons"]
        return found


@asynccontextmanager
async def scheduler(chain: Any, folder: Path, url: str = "") -> AsyncIterator[Started]:
    wallet = Wallet.import_key(folder / "wallet.json", "sesame", chain.scheduler.key, work=4096)
    assert wallet.address == chain.scheduler.address
    (folder / "password").write_text("sesame\n")
    config = SchedulerConfig(
        data_dir=folder / "data",
        rpc_urls=(url or chain.url,),
        hub=chain.hub,
        workerpool=chain.workerpool,
        wallet=folder / "wallet.json",
        password_file=folder / "password",
        results_url=NOWHERE,
    )
    async with AsyncExitStack() as stack:
        parts = await program._build(config, stack)
        transport = httpx2.ASGITransport(parts.app)
        http = httpx2.AsyncClient(transport=transport, base_url="http://pool", timeout=60)
        yield Started(parts, chain, await stack.enter_async_context(http))


@asynccontextmanager
async def following(parts: program.Parts) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(parts.heads.run)
        tasks.start_soon(parts.follower.run)
        yield
        tasks.cancel_scope.cancel()


class Slow:
    """Has the logs of blocks above `upto` only when it is let."""

    def __init__(self, parts: program.Parts, upto: int, patch: pytest.MonkeyPatch) -> None:
        rpc = parts.pool.hub.rpc
        self._batch, self._upto, self.let = rpc.batch, upto, anyio.Event()
        patch.setattr(rpc, "batch", self.batch)

    async def batch(self, requests: list[Request]) -> list[Any]:
        for method, params in requests:
            if method == "eth_getLogs" and int(params[0]["fromBlock"], 16) > self._upto:
                await self.let.wait()
        return await self._batch(requests)


async def test_nothing_is_given_before_the_past_is_read(
    chain: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Half of it tells of an open task that has ended long ago."""
    past = Past(chain)
    old, ended = past.opened()
    half = past.height
    monkeypatch.setattr("tallystick.chain.watcher._FIRST_BLOCKS", half + 1)
    chain.mine()
    past.settled(old, 0)
    _, fresh = past.opened()
    async with scheduler(chain, tmp_path) as started:
        slow = Slow(started.parts, half, monkeypatch)
        classic, ours = await started.member(1), await started.member(2, "one")
        async with following(started.parts):
            await started.until(lambda: started.parts.follower.head == half)
            assert started.status(ended) is TaskStatus.ACTIVE
            for answer in (await started.demand(classic), await started.demand(ours, wait=5)):
                assert answer.status_code == 503
                assert "The chain's past is still read" in answer.text
            assert f"The chain's past is still read, by now up to block {half}: wait." in (
                await started.reasons()
            )
            # Whoever is told that there is no replicate of it drops a result for good.
            update = await started.http.post(
                f"/replicates/{fresh}/updateStatus",
                json={"status": "CONTRIBUTED"},
                headers=classic,
            )
            assert update.status_code == 503
            worker = chain.workers[1].address
            assert await started.parts.pool.assign(ended, worker, "") is None
            slow.let.set()
            await started.until(lambda: started.parts.pool.clock.known)
            assert started.status(ended) is TaskStatus.COMPLETED
            given = await started.demand(ours, wait=5)
            assert given.json()["workerpoolAuthorization"]["chainTaskId"] == str(fresh)
            assert (await started.demand(classic)).status_code == 204
            assert not any("past" in reason for reason in await started.reasons())
        told = started.parts.journal.read(stream=str(ended))
        assert not any(isinstance(entry.fact, Assigned) for entry in told)


async def test_who_listens_is_told_as_soon_as_it_is_read(
    chain: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A v9 worker has to reveal; it is told by what nobody asked for."""
    monkeypatch.setattr(sockjs, "HEARTBEAT_SECONDS", float("inf"))
    past = Past(chain)
    deal, task = past.opened()
    past.voted(deal, 0)
    half = past.height
    monkeypatch.setattr("tallystick.chain.watcher._FIRST_BLOCKS", half + 1)
    chain.mine(3)
    async with scheduler(chain, tmp_path) as started:
        slow = Slow(started.parts, half, monkeypatch)
        channel = started.parts.app.state.channel
        session = channel.join("one", "")
        assert await session.frame() == sockjs.OPEN
        connect = "CONNECT\naccept-version:1.2\n\n\0"
        follow = f"SUBSCRIBE\nid:0\ndestination:/topic/task/{task}\n\n\0"
        async with following(started.parts):
            await started.until(lambda: started.parts.follower.head == half)
            assert started.status(task) is TaskStatus.REVEALING
            assert channel.deliver_here("one", [connect, follow])
            assert "CONNECTED" in await session.frame()
            slow.let.set()
            with anyio.fail_after(60):
                told = json.loads((await session.frame())[1:])
    assert "PLEASE_REVEAL" in told[0]


async def test_a_node_that_knows_less_than_the_first_one_is_not_waited_for(
    chain: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The first one told of a thousand blocks more; nobody else has them."""
    monkeypatch.setattr("tallystick.chain.watcher._FIRST_BLOCKS", 3)
    _, fresh = Past(chain).opened()
    read, first = Watcher._read, list[Blocks]()

    async def boastful(self: Watcher, start: int, target: int, tip: Any) -> Blocks:
        news = await read(self, start, target + 1_000 * (not first), tip)
        first.append(news)
        return news

    monkeypatch.setattr(Watcher, "_read", boastful)
    async with scheduler(chain, tmp_path) as started:
        ours = await started.member(1, "one")
        async with following(started.parts):
            await started.until(lambda: started.parts.pool.clock.known)
            assert (await started.demand(ours, wait=5)).status_code == 200
            assert started.status(fresh) is TaskStatus.ACTIVE
    assert first[0].target > 1_000
    assert len(first) > 1


async def away(*_: object) -> Any:
    raise Unavailable("the node is away")


async def test_without_a_node_nothing_is_known_and_nothing_given(
    chain: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """And that is what is said, as long as it lasts."""
    _, fresh = Past(chain).opened()
    async with scheduler(chain, tmp_path) as started:
        ours, rpc = await started.member(1, "one"), started.parts.pool.hub.rpc
        monkeypatch.setattr(rpc, "batch", away)
        monkeypatch.setattr(rpc, "call", away)
        async with following(started.parts):
            answer = await started.demand(ours, wait=5)
            assert answer.status_code == 503
            assert "No fresh block is known" in answer.text
            assert any("No block of the chain" in each for each in await started.reasons())
            monkeypatch.undo()
            await started.until(lambda: started.parts.pool.clock.known)
            given = await started.demand(ours, wait=5)
    assert given.json()["workerpoolAuthorization"]["chainTaskId"] == str(fresh)
