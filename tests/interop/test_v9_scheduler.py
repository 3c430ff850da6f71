"""Workers of ours under a v9 scheduler, on a real chain: a strict peer plays it."""

from __future__ import annotations

import io
import json
import signal
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from market_lab import DEV
from test_v9_workers import living, mischief
from v9_core import CoreTask
from v9_scheduler import V9Scheduler
from v9_snapshots import LIFE, heard
from v9_stage import Stage, ends, our_worker, staged, until
from v9_worker import V9Worker

from tallystick.devnet.packages import PocoPackages
from tallystick.poco.values import Address, TaskId

pytestmark = [pytest.mark.anyio, pytest.mark.long]

LIAR = (str(Path(__file__).parents[1] / "e2e" / "lying_worker.py"),)
TOLD = ("PLEASE_REVEAL", "PLEASE_UPLOAD", "PLEASE_COMPLETE")


@pytest.fixture(scope="module")
async def stage(
    anyio_backend: str, poco_packages: PocoPackages, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    """One chain for all stories; each has a scheduler of its own, and wallets of its own."""
    folder = tmp_path_factory.mktemp("v9")
    async with staged(folder, poco_packages, workers=16) as stage:
        yield stage


@asynccontextmanager
async def pool(stage: Stage, **options: Any) -> AsyncIterator[V9Scheduler]:
    """A v9 scheduler; whatever happened, nothing was said to it that Java would not take."""
    scheduler = await stage.scheduler(**options)
    async with scheduler.running():
        yield scheduler
    blameless(scheduler)


def blameless(scheduler: V9Scheduler) -> None:
    assert scheduler.problems == []
    assert scheduler.broker.problems == []
    assert scheduler.proxy.refusals == []
    assert scheduler.hasty == [], "it asked for work before the period was over"
    assert scheduler.unheard == [], "it listens before it starts"


async def has(scheduler: V9Scheduler, task: str, wallet: str, status: str) -> None:
    """Until a replicate had this status."""

    def life() -> list[str]:
        replicate = scheduler.core.tasks[task].replicates.get(wallet)
        return replicate.history if replicate else []

    def told() -> str:
        return f"{life()} {scheduler.core.tasks[task].statuses} {scheduler.problems[:2]}"

    def there() -> bool:
        assert not scheduler.problems, told()
        return status in life()

    await until(there, f"{status} of {wallet}", told)


def content(scheduler: V9Scheduler, task: str) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(scheduler.proxy.results[task])) as zipped:
        return {name: zipped.read(name) for name in zipped.namelist()}


async def test_the_two_strict_peers_understand_each_other(stage: Stage, tmp_path: Path):
    """Neither of them is ours: what both of them take is the protocol."""
    scheduler = await stage.scheduler()
    worker = V9Worker(
        core_url=stage.market.scheduler_url,
        pool=str(stage.market.workerpool),
        key=stage.key("worker-16"),
        folder=tmp_path,
        abi=stage.abi,
        app=mischief,
    )
    async with scheduler.running(), living(worker):
        task = await stage.buy(scheduler)
        known = await ends(scheduler, task)
        assert scheduler.statuses(task, worker.me) == LIFE
        assert scheduler.proxy.places[task] in known.link
    assert scheduler.problems == scheduler.proxy.refusals == scheduler.broker.problems == []
    assert scheduler.core.refused == scheduler.hasty == scheduler.unheard == []


async def test_a_worker_of_ours_is_paid_by_a_v9_pool(stage: Stage):
    """The classic life of a task, with every request as a v9 worker makes it."""
    me, before = stage.wallet("worker-1"), await stage.stake("worker-1")
    async with pool(stage) as scheduler, our_worker(stage, "worker-1"):
        task = await stage.buy(scheduler)
        known = await ends(scheduler, task)
        assert scheduler.statuses(task, me) == LIFE
        assert await stage.stake("worker-1") > before
        files = content(scheduler, task)
        assert files["result.txt"] == b"hello\n"
        assert "computed.json" in files
        assert scheduler.proxy.places[task] in known.link
        assert scheduler.core.refused == []
        assert set(scheduler.broker.opened) == {"xhr_streaming"}
        replicate = known.replicates[me]
        assert replicate.detail("computeLogs")["stdout"] == "hello\n"
        heard("worker-of-ours", scheduler, stage.lab, task, *TOLD)


async def test_a_stream_that_ends_again_and_again(stage: Stage):
    """As after 128 KiB, but after every few words: the session goes on in the next answer."""
    me = stage.wallet("worker-3")
    async with pool(stage) as scheduler, our_worker(stage, "worker-3"):
        scheduler.broker.stream = 40
        task = await stage.buy(scheduler)
        await ends(scheduler, task)
        assert scheduler.statuses(task, me) == LIFE
        (session,) = scheduler.broker.sessions.values()
        assert session.streams >= 4, "CONNECTED, two notifications, and what comes next"
        assert len(scheduler.broker.opened) == 1


async def test_contribute_and_finalize_over_websocket(stage: Stage):
    """No Java scheduler asks for it without an enclave, and none speaks WebSocket; one
    that does is understood."""
    me, before = stage.wallet("worker-4"), await stage.stake("worker-4")
    async with pool(stage, websocket=True) as scheduler, our_worker(stage, "worker-4"):
        scheduler.core.shortcut = lambda task: task.trust == 1
        listener = Address(bytes([0xCA, *bytes(18), 1]))
        told = f"callback 0x{bytes(range(32)).hex()}"
        task = await stage.buy(scheduler, told, callback=listener)
        known = await ends(scheduler, task)
        steps = ["CONTRIBUTE_AND_FINALIZE_ONGOING", "CONTRIBUTE_AND_FINALIZE_DONE"]
        middle = LIFE.index("CONTRIBUTING")
        assert scheduler.statuses(task, me) == [*LIFE[:middle], *steps, *LIFE[-2:]]
        assert str(listener) in known.link
        assert set(scheduler.broker.opened) == {"websocket"}
        assert await stage.stake("worker-4") > before


async def test_a_liar_is_aborted_when_the_others_agree(stage: Stage, tmp_path: Path):
    """Two workers of ours and a v9 one agree. Ours that lied drops the task when it is told."""
    liar, before = stage.wallet("worker-5"), await stage.stake("worker-5")
    theirs = V9Worker(
        core_url=stage.market.scheduler_url,
        pool=str(stage.market.workerpool),
        key=stage.key("worker-15"),
        folder=tmp_path,
        abi=stage.abi,
        app=mischief,
    )
    async with pool(stage) as scheduler, our_worker(stage, "worker-5", LIAR):
        task = await stage.buy(scheduler, trust=3)
        await has(scheduler, task, liar, "CONTRIBUTED")
        async with (
            our_worker(stage, "worker-6"),
            our_worker(stage, "worker-7"),
            living(theirs),
        ):
            known = await ends(scheduler, task)
        assert known.replicates[liar].detail("cause") == "CONSENSUS_REACHED"
        (abort,) = [
            t for t in scheduler.core.told if t["taskNotificationType"] == "PLEASE_ABORT"
        ]
        assert abort["workersAddress"] == [liar]
        assert set(known.winners()) == set(known.replicates) - {liar}
        assert await stage.stake("worker-5") < before


async def test_a_reveal_that_nobody_asked_for(stage: Stage):
    """Every notification of it is lost, and that of the end: the chain tells both."""
    me = stage.wallet("worker-8")
    async with pool(stage) as scheduler, our_worker(stage, "worker-8"):
        scheduler.core.muted |= {"PLEASE_REVEAL", "PLEASE_COMPLETE"}
        task = await stage.buy(scheduler)
        await ends(scheduler, task)
        assert scheduler.statuses(task, me) == LIFE
        lost = [told["taskNotificationType"] for told in scheduler.core.lost]
        assert lost == ["PLEASE_REVEAL", "PLEASE_COMPLETE"]


async def test_another_ping_makes_it_register_and_recover(stage: Stage):
    """The request to upload was lost. With other settings of the pool it asks again."""
    me = stage.wallet("worker-9")
    async with pool(stage) as scheduler, our_worker(stage, "worker-9"):
        scheduler.core.muted.add("PLEASE_UPLOAD")
        task = await stage.buy(scheduler)
        await has(scheduler, task, me, "RESULT_UPLOAD_REQUESTED")
        scheduler.word = "0x" + "ab" * 32
        await ends(scheduler, task)
        assert scheduler.core.workers[me].registrations == 2
        assert "RECOVERING" in scheduler.core.tasks[task].replicates[me].history


async def test_the_scheduler_starts_again_with_what_it_knew(stage: Stage):
    """Tokens, challenges and sessions are gone, and so is the request to upload."""
    me = stage.wallet("worker-10")
    scheduler = await stage.scheduler()
    async with our_worker(stage, "worker-10"):
        async with scheduler.running():
            scheduler.core.muted.add("PLEASE_UPLOAD")
            task = await stage.buy(scheduler)
            await has(scheduler, task, me, "RESULT_UPLOAD_REQUESTED")
        async with scheduler.running():
            await ends(scheduler, task)
    assert "RECOVERING" in scheduler.core.tasks[task].replicates[me].history
    assert len(scheduler.broker.opened) == 2
    blameless(scheduler)


async def test_the_worker_starts_again_with_what_it_knew(stage: Stage):
    """It voted and was killed; the consensus and its notification came while it was dead."""
    me = stage.wallet("worker-11")
    async with pool(stage) as scheduler:
        scheduler.core.muted.add("PLEASE_REVEAL")
        async with our_worker(stage, "worker-11") as worker:
            task = await stage.buy(scheduler)
            await has(scheduler, task, me, "COMPUTED")
            await worker.end(signal.SIGKILL)
        async with our_worker(stage, "worker-11"):
            await ends(scheduler, task)
        assert "COMPLETED" in scheduler.statuses(task, me)


async def test_tokens_that_have_expired(stage: Stage):
    """One in use is refused once. One that a login hands out is refused too, then renewed."""
    me = stage.wallet("worker-12")
    async with pool(stage) as scheduler:

        def refused() -> list[str]:
            return [each.request for each in scheduler.exchanges if each.status == 401]

        async with our_worker(stage, "worker-12"):
            await until(lambda: me in scheduler.core.workers, "the registration")
            scheduler.expire_tokens()
            asked = len(scheduler.of(me, "/replicates/available"))
            await until(
                lambda: refused() and len(scheduler.of(me, "/replicates/available")) > asked,
                "a demand with a fresh token",
            )
        scheduler.expire_tokens()
        scheduler.exchanges.clear()
        async with our_worker(stage, "worker-12"):
            task = await stage.buy(scheduler)
            await ends(scheduler, task)
        assert refused() == ["POST /workers/register"], "with the token that it had been given"


async def test_answers_that_are_not_200(stage: Stage):
    """503 for a while; 208 since the chain told of the vote before the worker did; 400 for the
    first upload. Meanwhile it was given up as lost, and came back."""
    me = stage.wallet("worker-13")
    async with pool(stage) as scheduler, our_worker(stage, "worker-13"):
        core = scheduler.core
        scheduler.proxy.failing = 1

        async def gate(status: str, task: CoreTask) -> None:
            if status == "STARTED":
                scheduler.down = True
            if status == "COMPUTED":
                core.lose(me)
            if status == "CONTRIBUTED":
                await core.detect_unnotified()

        core.gate = gate
        task = await stage.buy(scheduler)

        def answers(code: int) -> list[str]:
            said = scheduler.of(me, "/updateStatus")
            return [json.loads(e.body)["status"] for e in said if e.status == code]

        await until(lambda: len(answers(503)) > 1, "reports to a scheduler without a node")
        scheduler.down = False
        await ends(scheduler, task)
        assert scheduler.proxy.failing == 0
        assert "WORKER_LOST" in core.tasks[task].replicates[me].history
        assert answers(208) == ["CONTRIBUTED"]
        assert answers(202) == []


async def test_a_report_that_is_refused_aborts(stage: Stage):
    """Where streams are refused, which needs polls."""
    me = stage.wallet("worker-14")
    async with pool(stage) as scheduler, our_worker(stage, "worker-14"):
        scheduler.broker.xhr_only = True
        scheduler.core.unproven.add("COMPUTED")
        task = await stage.buy(scheduler)
        await has(scheduler, task, me, "ABORTED")
        assert (await scheduler.chain.task(task)).contributors == []
        assert scheduler.core.refused[0][:2] == (me, "COMPUTED")
        assert set(scheduler.broker.opened) == {"xhr"}


async def test_a_deadline_that_passes_aborts(stage: Stage):
    """The last story: the chain's clock goes on by seven minutes at once."""
    me = stage.wallet("worker-14")
    async with pool(stage) as scheduler, our_worker(stage, "worker-14"):
        task = await stage.buy(scheduler, "endless", category=DEV)
        await has(scheduler, task, me, "COMPUTING")
        await stage.lab.session.rpc.call("evm_increaseTime", 7 * 60 + 1)
        known = await ends(scheduler, task, "FAILED")
        assert known.statuses[-2] == "CONTRIBUTION_TIMEOUT"
        assert known.replicates[me].detail("cause") == "CONTRIBUTION_TIMEOUT"
        await until(lambda: stage.lab.leftovers(TaskId(task)) == [], "everything to be gone")
