"""Workers of the v9 stack in a pool of ours, on a real market: a strict peer plays them."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from eth_account import Account
from market_lab import TINY, Lab, market_lab, more_workers, only
from postgres_lab import postgres_url
from several_lab import Books, several
from v9_snapshots import LIFE, compared
from v9_worker import V9Worker

from tallystick.devnet.packages import PocoPackages, default_cache
from tallystick.devnet.places import password_in

pytestmark = [pytest.mark.anyio, pytest.mark.long]

__all__ = ["postgres_url"]


TOLD = ("PLEASE_REVEAL", "PLEASE_UPLOAD", "PLEASE_COMPLETE")
"""What a worker that does all of it is told without having asked."""


def mischief(words: list[str]) -> Mapping[str, bytes]:
    """What the trial app `mischief` leaves when it is told: ok TEXT."""
    deed, text = words
    assert deed == "ok"
    said = json.dumps({"deterministic-output-path": "/iexec_out/result.txt"})
    return {"result.txt": f"{text}\n".encode(), "computed.json": said.encode()}


def liar(words: list[str]) -> Mapping[str, bytes]:
    """Another result than that of the app."""
    return {**mischief(words), "result.txt": b"a lie\n"}


def peer(lab: Lab, packages: PocoPackages, folder: Path, role: str, **more: Any) -> V9Worker:
    """A v9 worker with the wallet of a role, which has a stake and gas."""
    keystore = json.loads(lab.market.keystores[role].read_text())
    key = bytes(Account.decrypt(keystore, password_in(lab.market.password_file)))
    return V9Worker(
        core_url=lab.market.scheduler_url,
        pool=str(lab.market.workerpool),
        key=key,
        folder=folder,
        abi=abi_of(packages),
        **{"app": mischief, **more},
    )


def abi_of(packages: PocoPackages) -> Path:
    return packages.poco / "abis" / "contracts" / "IexecInterfaceToken.json"


@asynccontextmanager
async def living(worker: V9Worker) -> AsyncIterator[V9Worker]:
    """The worker runs as long as the block; leaving it is a SIGKILL to a process."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.live)
        yield worker
        tasks.cancel_scope.cancel()
    assert worker.trouble == []


class Hold:
    """Stops a worker before a step until it is let go."""

    def __init__(self, word: str) -> None:
        self.word, self.reached, self.go = word, anyio.Event(), anyio.Event()

    async def __call__(self, word: str, task: str) -> None:
        if word == self.word:
            self.reached.set()
            await self.go.wait()

    async def wait(self) -> None:
        with anyio.fail_after(180):
            await self.reached.wait()


@asynccontextmanager
async def market(folder: Path, *ours: int, workers: int = 1, **more: Any) -> AsyncIterator[Lab]:
    """A market where of our workers only these run; the wallets of the others are free."""
    chosen = more.pop("children", None)
    children = only(*ours, children=chosen) if chosen else only(*ours)
    options = {"executor": "bubblewrap", "children": children, "alive": len(ours)}
    async with market_lab(folder, workers=workers, **options, **more) as lab:
        yield lab


async def buy(lab: Lab, text: str = "hello", **wish: Any) -> Any:
    image = lab.shelve("mischief", default_cache())
    return await lab.buy(image, f"ok {text}", **wish)


def in_order(statuses: list[str]) -> list[str]:
    """The scheduler follows the chain: it may ask for a step before the report of the last."""
    return sorted(statuses, key=LIFE.index)


async def until(met: Any) -> None:
    with anyio.fail_after(180):
        while not met():  # noqa: ASYNC110 (other processes)
            await anyio.sleep(0.1)


async def test_a_v9_worker_computes_reveals_uploads_and_is_paid(
    tmp_path: Path, poco_packages: PocoPackages
):
    """The whole life of a task, in the classic way, with every answer as strict as it gets."""
    async with market(tmp_path) as lab:
        worker = peer(lab, poco_packages, tmp_path / "java", "worker-1")
        async with living(worker):
            bought = await buy(lab)
            ending = await lab.see(bought)
            assert ending.paid
            assert (ending.result / "result.txt").read_text() == "hello\n"
            assert lab.gains(ending)["worker-1"] > 0
            task = str(ending.task)
            await until(lambda: "COMPLETED" in worker.statuses(task))
        assert in_order(worker.statuses(task)) == LIFE
        assert not (tmp_path / "java" / "java" / task).exists(), "it tidied up"
        assert len(worker.channel.received) == 3, "reveal, upload, complete: each once"
        compared("complete-task", worker, lab, task, *TOLD)


async def test_two_of_ours_and_one_of_theirs_agree(tmp_path: Path, poco_packages: PocoPackages):
    async with market(tmp_path, 1, 2, workers=3) as lab:
        async with living(peer(lab, poco_packages, tmp_path / "java", "worker-3")) as worker:
            await lab.workers_are_back(3)
            ending = await lab.see(await buy(lab, trust=5))
            task = str(ending.task)
            await until(lambda: "COMPLETED" in worker.statuses(task))
        assert ending.paid
        gains = lab.gains(ending)
        shares = {gains[f"worker-{number}"] for number in (1, 2, 3)}
        assert len(shares) == 1, "all have the same digest, and the same reward"


async def test_a_liar_is_told_to_stop_when_others_agree(
    tmp_path: Path, poco_packages: PocoPackages
):
    async with market(tmp_path, workers=4) as lab:
        worker = peer(lab, poco_packages, tmp_path / "java", "worker-4", app=liar)
        async with living(worker):
            bought = await buy(lab, trust=3)
            task = str(bought.tasks[0])
            await until(lambda: worker.contributed(task))
            async with more_workers(lab, 1, 2, 3):
                ending = await lab.see(bought)
                assert ending.paid
            await until(lambda: "ABORTED" in worker.statuses(task))
        (abort,) = [each for each in map(json.loads, worker.channel.received) if _aborts(each)]
        assert worker.me in abort["workersAddress"]
        assert abort["taskNotificationExtra"]["taskAbortCause"] == "CONSENSUS_REACHED"
        assert lab.gains(ending)["worker-4"] < 0


def _aborts(told: dict[str, Any]) -> bool:
    return bool(told["taskNotificationType"] == "PLEASE_ABORT")


async def test_a_deadline_that_passes_aborts(tmp_path: Path, poco_packages: PocoPackages):
    """It is told without having asked, drops the task, and everybody has his money back."""
    hold = Hold("PLEASE_COMPUTE")
    async with market(tmp_path) as lab:
        worker = peer(lab, poco_packages, tmp_path / "java", "worker-1", gate=hold, period=0.6)
        async with living(worker):
            await lab.workers_are_back(1)
            bought = await buy(lab, category=TINY)
            task = str(bought.tasks[0])
            await hold.wait()
            await until(lambda: "ABORTED" in worker.statuses(task))
            told = [json.loads(body) for body in worker.channel.received]
            causes = [each["taskNotificationExtra"]["taskAbortCause"] for each in told]
            assert causes[0] == "CONTRIBUTION_TIMEOUT"
            compared("deadline", worker, lab, task, "PLEASE_ABORT")
            ending = await lab.see(bought)
            assert not ending.paid


def completed(story: dict[str, Any], worker: str) -> bool:
    """Whether this worker has completed its replicate."""
    return any(
        each["worker"] == worker and each["status"] == "completed"
        for each in story["replicates"]
    )


async def test_a_lost_worker_is_replaced(tmp_path: Path, poco_packages: PocoPackages):
    """It dies while it computes. One of ours takes its place; when it comes back it has nothing
    to do for the task, and goes on working."""
    hold = Hold("PLEASE_COMPUTE")
    async with market(tmp_path, workers=2) as lab:
        worker = peer(lab, poco_packages, tmp_path / "java", "worker-2", gate=hold)
        async with living(worker):
            bought = await buy(lab)
            await hold.wait()
        ours = str(lab.market.accounts["worker-1"])
        async with more_workers(lab, 1):
            story = await lab.until(bought.tasks[0], lambda story: completed(story, ours))
            assert {"Lost", "Finalized"} <= {fact["kind"] for fact in story["facts"]}
        again = peer(lab, poco_packages, tmp_path / "java", "worker-2")
        async with living(again):
            ending = await lab.see(await buy(lab, "again"))
            assert ending.paid
            assert lab.gains(ending)["worker-2"] > 0


async def test_a_worker_that_starts_again_reveals(tmp_path: Path, poco_packages: PocoPackages):
    """It voted, and died before it could reveal: all that it knew is a folder on its disk."""
    hold = Hold("PLEASE_REVEAL")
    async with market(tmp_path) as lab:
        worker = peer(lab, poco_packages, tmp_path / "java", "worker-1", gate=hold)
        async with living(worker):
            bought = await buy(lab)
            await hold.wait()
        again = peer(lab, poco_packages, tmp_path / "java", "worker-1")
        async with living(again):
            ending = await lab.see(bought)
            assert ending.paid
            task = str(ending.task)
            await until(lambda: "COMPLETED" in again.statuses(task))
        assert in_order(again.statuses(task)) == LIFE[LIFE.index("REVEALING") :]
        compared("recovery", again, lab, task, *TOLD[1:])


async def test_a_loser_that_starts_again_cannot_reveal_and_drops_its_task(
    tmp_path: Path, poco_packages: PocoPackages
):
    """It voted otherwise than the rest, and died before it heard of it. v9 tells it to reveal:
    it finds by the chain that it cannot, and is left in peace once it has said so."""
    async with market(tmp_path, workers=4) as lab:
        worker = peer(lab, poco_packages, tmp_path / "java", "worker-4", app=liar)
        async with living(worker):
            bought = await buy(lab, trust=3)
            task = str(bought.tasks[0])
            await until(lambda: worker.contributed(task))
        async with more_workers(lab, 1, 2, 3):
            await lab.until(bought.tasks[0], agreed)
            again = peer(lab, poco_packages, tmp_path / "java", "worker-4", app=liar)
            async with living(again):
                ending = await lab.see(bought)
                assert ending.paid
                await until(lambda: "ABORTED" in again.statuses(task))
        assert "REVEALED" not in again.statuses(task)
        assert lab.gains(ending)["worker-4"] < 0


def agreed(story: dict[str, Any]) -> bool:
    return any(fact["kind"] == "ConsensusReached" for fact in story["facts"])


async def test_what_was_missed_is_told_after_the_next_connection(
    tmp_path: Path, poco_packages: PocoPackages
):
    """The connection breaks with the notification on its way: in v9 the stake would be lost."""
    async with market(tmp_path) as lab:
        worker = peer(lab, poco_packages, tmp_path / "java", "worker-1")
        heard, missed = worker._heard, []

        async def deaf(body: str) -> None:
            if "PLEASE_REVEAL" in body and not missed:
                missed.append(body)
                worker.channel.cut()
            else:
                await heard(body)

        worker._heard = deaf  # type: ignore[method-assign]
        async with living(worker):
            ending = await lab.see(await buy(lab))
            assert ending.paid
        assert len(missed) == 1
        assert worker.channel.sessions > 1


async def test_the_scheduler_dies_and_comes_back(tmp_path: Path, poco_packages: PocoPackages):
    """With the same settings the worker goes on where it was. With others its ping is answered
    otherwise, and it begins anew as soon as it has nothing to do."""
    hold = Hold("PLEASE_COMPUTE")
    async with market(tmp_path) as lab:
        worker = peer(lab, poco_packages, tmp_path / "java", "worker-1", gate=hold)
        async with living(worker):
            bought = await buy(lab)
            await hold.wait()
            kill_scheduler(lab)
            hold.go.set()
            ending = await lab.see(bought)
            assert ending.paid
            assert worker.starts == 1
            assert worker.channel.sessions > 1
            (settings,) = lab.market.data.rglob("scheduler.toml")
            lines = [x for x in settings.read_text().splitlines() if "block_time" not in x]
            settings.write_text("\n".join([*lines, "block_time = 3.0"]) + "\n")
            kill_scheduler(lab)
            await until(lambda: worker.starts == 2)
            ending = await lab.see(await buy(lab, "again"))
            assert ending.paid


def kill_scheduler(lab: Lab) -> None:
    """SIGKILL to the process that has its settings now; the market starts it again."""
    needle = b"scheduler.toml"
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        if needle in words and str(lab.market.data).encode() in words:
            os.kill(int(path.parent.name), signal.SIGKILL)
            return
    raise ProcessLookupError("no scheduler runs")


@pytest.fixture
def books(postgres_url: str) -> Iterator[Books]:
    books = Books(postgres_url)
    yield books
    books.close()


async def test_a_v9_worker_under_two_schedulers(
    tmp_path: Path, poco_packages: PocoPackages, books: Books
):
    """Each request goes to either of them: what it sends reaches its session all the same, and
    it hears of tasks of both."""
    async with market(tmp_path, children=several(2, books.url)) as lab:
        await books.until_held_by(2)
        worker = peer(lab, poco_packages, tmp_path / "java", "worker-1", cpus=2)
        async with living(worker):
            for text in ("one", "two", "three"):
                ending = await lab.see(await buy(lab, text))
                assert ending.paid
                assert lab.gains(ending)["worker-1"] > 0
