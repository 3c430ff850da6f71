"""Names of statuses by what really causes them: real processes, a real chain, real apps.

Deadlines are passed by moving the chain's clock, never by waiting for them.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import anyio
import pytest
from anyio import to_thread
from market_lab import DEV, Lab, market_lab, only, wallet_of
from own_worker import OwnWorker, pausing, usual
from test_operator import Operator
from test_stopping import THREE, facts

from tallystick.devnet.console import Console
from tallystick.devnet.packages import PocoPackages
from tallystick.lifecycle.agenda import UPLOAD_PERIOD
from tallystick.poco.params import DealParams, encode_params
from tallystick.poco.values import Hash, TaskId
from tallystick.requester.accounts import deposit, withdraw
from tallystick.requester.assets import register_app

pytestmark = [pytest.mark.anyio, pytest.mark.long]

UNIT = 60
"""Seconds of the category that all tasks here have: final deadlines are ten of them away."""
NOT_OURS = "is not ours: does another program use this wallet?"
CANT_STAKE = "CANT_CONTRIBUTE_SINCE_STAKE_TOO_LOW"


@pytest.fixture(scope="module")
async def lab(
    poco_packages: PocoPackages, executor: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Lab]:
    folder = tmp_path_factory.mktemp("market")
    options: dict[str, Any] = {"workers": 3, "executor": executor, "alive": 0, "classic": True}
    async with market_lab(folder, children=only(), **options) as lab:
        yield lab


class Refusing(BaseHTTPRequestHandler):
    """Answers whatever is asked with the status that its path begins with."""

    def _answer(self) -> None:
        self.send_response(int(self.path.split("/")[1]))
        self.send_header("content-length", "0")
        self.end_headers()

    do_GET = do_POST = do_PUT = do_HEAD = _answer

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def refusing() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def has(name: str, vocabulary: str = "seed") -> Callable[[dict[str, Any]], bool]:
    """Whether a replicate of a story is called that at the moment."""
    return lambda story: any(each[vocabulary] == name for each in story["replicates"])


async def lived(lab: Lab, task: TaskId, name: str = "worker-1") -> list[str]:
    """Every status that the scheduler ever knew of a replicate, as v9 names them."""
    who = lab.market.accounts[name]
    answer = await lab.http.get(f"{lab.market.scheduler_url}/tasks/{task}/replicates/{who}")
    return [each["status"] for each in answer.json()["statusUpdateList"]]


async def reported(lab: Lab, worker: OwnWorker, task: TaskId, names: set[str]) -> None:
    """A worker that has paused tells this. The chain stands still meanwhile: what it knew of a
    vote would make a report of the way there too late."""
    await worker.is_paused()
    os.kill(lab.pid("chain"), signal.SIGSTOP)
    try:
        worker.go_on()
        with anyio.fail_after(60):
            while not names <= {*await lived(lab, task)}:  # noqa: ASYNC110 (other processes)
                await anyio.sleep(0.05)
    finally:
        os.kill(lab.pid("chain"), signal.SIGCONT)


async def ask(lab: Lab, method: str, *params: Any) -> Any:
    """What the node answers to its operator."""

    def call() -> Any:
        with Console(lab.market.rpc_url) as console:
            return console.call(method, *params)

    return await to_thread.run_sync(call)


async def later(lab: Lab, seconds: int) -> None:
    """The chain's clock goes on at once."""
    await ask(lab, "evm_increaseTime", seconds)
    await ask(lab, "anvil_mine", "0x1")


async def over(lab: Lab, task: TaskId) -> None:
    """Nobody ends it any more: after the last deadline the scheduler claims it."""
    await later(lab, 10 * UNIT + 1)
    await lab.until(task, lambda story: story["status"] == "FAILED")


async def that_was_me(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """The operator moved the wallet's money: until the worker is told, it takes no new work."""
    operator = Operator(lab, "worker-1", capsys)
    assert "WALLET_SHARED" in [each["code"] for each in (await operator.asks("why"))["causes"]]
    await operator.asks("resume", "--clear")


async def told_by_worker(
    lab: Lab, task: TaskId, capsys: pytest.CaptureFixture[str], name: str = "worker-1"
) -> list[str]:
    """The same by `tally worker tasks --json`, in the names of the operator's page."""
    told = await Operator(lab, name, capsys).asks("tasks", str(task))
    return [name for row in told["statuses"] for name in row["seed"]]


async def test_an_image_that_its_registry_does_not_have(
    lab: Lab, capsys: pytest.CaptureFixture[str]
):
    registry = lab.market.registry_url.removeprefix("http://")
    image, digest = f"{registry}/tallystick/gone:1", Hash(b"\x22" * 32)
    app = await register_app(
        lab.session, lab.requester, name="gone", image=image, digest=digest
    )
    async with pausing(lab, "Failed fetch app") as worker:
        bought = await lab.buy(str(app), category=DEV)
        names = {"APP_DOWNLOADING", "APP_DOWNLOAD_FAILED"}
        await reported(lab, worker, bought.tasks[0], names)
        assert (await lab.see(bought)).paid, "a failure that all meet alike is voted on"
        assert names <= {*await told_by_worker(lab, bought.tasks[0], capsys)}
        assert await worker.end() == 0


async def test_an_input_that_its_server_does_not_have(
    lab: Lab, refusing: str, capsys: pytest.CaptureFixture[str]
):
    async with pausing(lab, "Failed fetch data") as worker:
        inputs = (f"{refusing}/404/nothing.txt",)
        bought = await lab.buy("words", category=DEV, inputs=inputs)
        names = {"DATA_DOWNLOADING", "DATA_DOWNLOAD_FAILED"}
        await reported(lab, worker, bought.tasks[0], names)
        assert (await lab.see(bought)).paid, "a failure that all meet alike is voted on"
        assert names <= {*await told_by_worker(lab, bought.tasks[0], capsys)}
        assert await worker.end() == 0


async def test_an_app_that_leaves_nothing(
    lab: Lab, cache: Path, capsys: pytest.CaptureFixture[str]
):
    image = lab.shelve("mischief", cache)
    async with usual(lab) as worker:
        await lab.workers_are_back(1)
        (task,) = (await lab.buy(image, "silent", category=DEV)).tasks
        await lab.until(task, has("COMPUTE_FAILED", "modern"))
        assert (await lived(lab, task))[-2:] == ["COMPUTING", "COMPUTE_FAILED"]
        cause = "CANT_CONTRIBUTE_SINCE_DETERMINISM_HASH_NOT_FOUND"
        assert (await told_by_worker(lab, task, capsys))[-2:] == ["COMPUTE_FAILED", cause]
        await over(lab, task)
        assert await worker.end() == 0


@pytest.mark.parametrize(
    ("moment", "name", "modern"),
    [
        ("Computed", CANT_STAKE, "CONTRIBUTE_FAILED"),
        ("Checked", "CONTRIBUTE_FAILED", "CONTRIBUTE_FAILED"),
    ],
)
async def test_a_deposit_withdrawn_before_the_vote(
    lab: Lab, capsys: pytest.CaptureFixture[str], moment: str, name: str, modern: str
):
    """Before the check it is noticed; after it, the contract refuses the vote."""
    owner = wallet_of(lab.market, "worker-1")
    free, _ = await lab.stake("worker-1")
    async with pausing(lab, moment) as worker:
        (task,) = (await lab.buy("digits", category=DEV)).tasks
        await worker.is_paused()
        strangers = worker.said().count(NOT_OURS)
        await withdraw(lab.session, owner, free)
        worker.go_on()
        try:
            await lab.until(task, has(name))
        finally:
            await deposit(lab.session, owner, free)
        await worker.will_say(NOT_OURS, strangers + 2)
        await that_was_me(lab, capsys)
        assert (await lived(lab, task))[-1] == modern
        assert (await told_by_worker(lab, task, capsys))[-1] == name
        await over(lab, task)
        assert await worker.end() == 0


async def test_a_worker_that_is_killed_and_started_anew_recovers(lab: Lab, cache: Path):
    image = lab.shelve("mischief", cache)
    async with usual(lab) as worker:
        await lab.workers_are_back(1)
        (task,) = (await lab.buy(image, "endless", category=DEV)).tasks
        await lab.until(task, lambda story: facts(story, "Began", "compute") == 1)
        assert await worker.end(signal.SIGKILL) == -signal.SIGKILL
        await worker.start()
        await lab.until(task, lambda story: facts(story, "Recovering") == 1)
        assert "RECOVERING" in await lived(lab, task)
        await worker.will_say("all set", times=4)
        assert await worker.end() == 0
    await over(lab, task)


async def test_a_worker_that_is_stopped_after_its_vote_reveals_too_late(lab: Lab):
    async with usual(lab) as first:
        await lab.workers_are_back(1)
        bought = await lab.buy("corpus", "generator", trust=THREE, category=DEV)
        (task,) = bought.tasks
        await lab.until(task, lambda story: facts(story, "Contributed") == 1)
        first.go_on(signal.SIGSTOP)
        async with usual(lab, "worker-2") as second, usual(lab, "worker-3") as third:
            await lab.until(task, lambda story: facts(story, "Revealed") == 2)
            await later(lab, 2 * UNIT + 1)
            await lab.until(task, has("REVEAL_TIMEOUT"))
            first.go_on()
            ending = await lab.see(bought)
            for worker in (first, second, third):
                assert await worker.end() == 0
    assert ending.paid
    assert lab.gains(ending)["worker-1"] < 0
    assert (await lived(lab, task))[-1] == "FAILED"


async def test_a_winner_that_is_stopped_does_not_begin_its_upload(lab: Lab):
    async with pausing(lab, "Revealed") as worker:
        bought = await lab.buy("digits", category=DEV)
        (task,) = bought.tasks
        await worker.is_paused()
        await lab.until(task, has("RESULT_UPLOAD_REQUESTED"))
        await later(lab, UPLOAD_PERIOD + 1)
        await lab.until(task, has("RESULT_UPLOAD_REQUEST_FAILED"))
        worker.go_on()
        assert (await lab.see(bought)).paid, "late is better than never"
        assert await worker.end() == 0


async def test_a_result_store_that_only_answers_500(lab: Lab, refusing: str):
    params = encode_params(DealParams(storage_provider="ipfs", storage_proxy=f"{refusing}/500"))
    async with usual(lab) as worker:
        await lab.workers_are_back(1)
        (task,) = (await lab.buy("digits", category=DEV, params=params)).tasks
        await lab.until(task, has("RESULT_UPLOADING"))
        await later(lab, UPLOAD_PERIOD + 1)
        await lab.until(task, has("RESULT_UPLOAD_FAILED"))
        assert "is not ready: (500)" in worker.said()
        assert (await lived(lab, task))[-1] == "RESULT_UPLOAD_FAILED"
        await over(lab, task)
        assert await worker.end() == 0


async def test_a_wallet_that_is_empty_when_its_vote_is_due(
    lab: Lab, capsys: pytest.CaptureFixture[str]
):
    me = str(lab.market.accounts["worker-1"])
    async with pausing(lab, "Computed") as worker:
        (task,) = (await lab.buy("digits", category=DEV)).tasks
        await worker.is_paused()
        full = await ask(lab, "eth_getBalance", me, "latest")
        await ask(lab, "anvil_setBalance", me, "0x1")
        worker.go_on()
        await lab.until(task, has("OUT_OF_GAS"))
        await ask(lab, "anvil_setBalance", me, full)
        told = await told_by_worker(lab, task, capsys)
        assert told[-2:] == ["CAN_CONTRIBUTE", "OUT_OF_GAS"]
        await over(lab, task)
        assert await worker.end() == 0


async def test_a_vote_that_too_few_others_join(lab: Lab, capsys: pytest.CaptureFixture[str]):
    async with usual(lab) as worker:
        await lab.workers_are_back(1)
        (task,) = (await lab.buy("digits", trust=THREE, category=DEV)).tasks
        await lab.until(task, lambda story: facts(story, "Contributed") == 1)
        await over(lab, task)
        await lab.until(task, has("ABORTED_ON_CONTRIBUTION_TIMEOUT"))
        assert (await lived(lab, task))[-1] == "ABORTED"
        told = await told_by_worker(lab, task, capsys)
        assert told[-2:] == ["CONTRIBUTED", "ABORTED_ON_CONTRIBUTION_TIMEOUT"]
        assert await worker.end() == 0


async def test_a_worker_that_is_stopped_is_lost_and_another_decides(
    lab: Lab, capsys: pytest.CaptureFixture[str]
):
    """It is stopped with its assignment, for longer than the pool waits for a sign of life."""
    async with pausing(lab, "Assigned") as worker:
        bought = await lab.buy("digits", category=DEV)
        (task,) = bought.tasks
        await worker.is_paused()
        await lab.until(task, has("WORKER_LOST"))
        async with usual(lab, "worker-2") as second:
            await lab.until(task, lambda story: story["status"] == "COMPLETED")
            worker.go_on()
            assert (await lab.see(bought)).paid
            told = await told_by_worker(lab, task, capsys)
            assert told[-1] == "ABORTED_ON_CONSENSUS_REACHED"
            assert "WORKER_LOST" in await lived(lab, task)
            assert await second.end() == 0
        assert await worker.end() == 0
