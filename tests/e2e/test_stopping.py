"""Stop, drain and a restored backup: real workers end as they were told, and owe nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from market_lab import DEV, Lab, market_lab, only
from own_worker import OwnWorker, pausing, usual

from tallystick.devnet.packages import PocoPackages
from tallystick.worker.backup import BOOK, JOURNAL, backup, restore

pytestmark = pytest.mark.anyio

THREE = 5
"""The trust at which three new workers have to agree."""


@pytest.fixture
async def lab(poco_packages: PocoPackages, executor: str, tmp_path: Path) -> AsyncIterator[Lab]:
    """A market whose three workers are started by the test."""
    options: dict[str, Any] = {"workers": 3, "executor": executor, "alive": 0}
    async with market_lab(tmp_path, children=only(), **options) as lab:
        yield lab


def replicates(story: dict[str, Any]) -> dict[str, str]:
    """Statuses by worker."""
    return {each["worker"]: each["modern"] for each in story["replicates"]}


def facts(story: dict[str, Any], kind: str, step: str = "") -> int:
    return sum(f["kind"] == kind and step in f["text"] for f in story["facts"])


async def test_stop_hands_back_and_another_worker_goes_on_at_once(lab: Lab, cache: Path):
    """The app would run for ever: the first worker stops in the middle of it."""
    image = lab.shelve("mischief", cache)
    async with usual(lab) as first:
        await lab.workers_are_back(1)
        (task,) = (await lab.buy(image, "endless", category=DEV)).tasks
        await lab.until(task, lambda story: facts(story, "Began", "compute") == 1)
        async with usual(lab, "worker-2") as second:
            await lab.workers_are_back(2)
            assert await first.end() == 0
            story = await lab.until(task, lambda story: facts(story, "Began", "compute") == 2)
            one, two = (lab.market.accounts[name] for name in ("worker-1", "worker-2"))
            assert replicates(story) == {str(one): "ABORTED", str(two): "COMPUTING"}
            told = [f["text"] for f in story["facts"] if f["kind"] == "Aborted"]
            assert "ABORTED_BY_WORKER" in told[0]
            assert await second.end(signal.SIGINT) == 0
    assert lab.leftovers(task) == [], "no container and no folder is left of either"


@pytest.mark.long
async def test_drain_finishes_everything_and_ends(lab: Lab):
    async with usual(lab) as worker:
        await lab.workers_are_back(1)
        bought = await lab.buy("digits")
        (task,) = bought.tasks
        await worker.until(task, "Began compute")
        worker.go_on(signal.SIGUSR1)
        ending = await lab.see(bought)
        assert ending.paid
        assert worker.process is not None
        assert await worker.process.wait() == 0
    assert "The worker is draining." in worker.said()
    assert lab.leftovers(task) == []


@pytest.mark.long
async def test_a_worker_that_stops_after_its_vote_says_until_when_and_reveals_later(lab: Lab):
    async with usual(lab) as first:
        await lab.workers_are_back(1)
        bought = await lab.buy("corpus", "generator", trust=THREE)
        (task,) = bought.tasks
        await first.until(task, "Contributed")
        assert await first.end() == 0
        assert f"{task}: our vote may have to be revealed until " in first.said()
        async with usual(lab, "worker-2"), usual(lab, "worker-3"):
            await lab.until(task, lambda story: facts(story, "ConsensusReached") == 1)
            await first.start()
            ending = await lab.see(bought)
    assert ending.paid
    assert lab.gains(ending)["worker-1"] > 0
    assert len(first.signed(task, "contribute")) == 1


@pytest.mark.long
async def test_after_a_restore_the_chain_is_asked_before_anything_is_signed(
    lab: Lab, tmp_path: Path
):
    """The backup is older than the vote, and its journal, book and digests are all lost."""
    copy = tmp_path / "copy"
    async with pausing(lab, "Began fetch data") as first:
        bought = await lab.buy("corpus", "generator", trust=THREE)
        (task,) = bought.tasks
        await first.is_paused()
        backup(first.home, copy)
        first.go_on()
        await first.until(task, "Contributed")
        assert await first.end(signal.SIGKILL) == -signal.SIGKILL
        assert forget(first, task) == {"Computed"}
        restore(first.home, copy)
        async with usual(lab, "worker-2"), usual(lab, "worker-3"):
            await lab.until(task, lambda story: facts(story, "ConsensusReached") == 1)
            await first.start()
            ending = await lab.see(bought)
    assert ending.paid
    assert lab.gains(ending)["worker-1"] > 0
    assert first.signed(task, "contribute") == set(), "there was no second vote"
    assert len(first.signed(task, "reveal")) == 1


@pytest.mark.long
async def test_a_killed_worker_comes_back_to_the_container_that_it_started(
    lab: Lab, cache: Path
):
    """With Docker the app goes on meanwhile: it is not started twice."""
    if "DOCKER_HOST" not in os.environ:
        pytest.skip("only Docker keeps an app running without its worker")
    image = lab.shelve("mischief", cache)
    async with usual(lab) as worker:
        await lab.workers_are_back(1)
        (task,) = (await lab.buy(image, "endless", category=DEV)).tasks
        await lab.until(task, lambda story: facts(story, "Began", "compute") == 1)
        (before,) = await running(task)
        await worker.end(signal.SIGKILL)
        await worker.start()
        await lab.until(task, lambda story: facts(story, "Recovering") == 1)
        await worker.will_say("all set", times=4)
        assert await running(task) == [before], "the very same container"
        assert await worker.end() == 0
    assert await running(task) == []
    assert lab.leftovers(task) == []


async def running(task: Any) -> list[str]:
    """The ids of the task's containers that run, once there is one that has started or none."""
    socket = os.environ["DOCKER_HOST"].removeprefix("unix://")
    transport = httpx2.AsyncHTTPTransport(uds=socket)
    async with httpx2.AsyncClient(transport=transport, timeout=30) as daemon:
        for _ in range(100):
            found = (await daemon.get("http://docker/containers/json?all=true")).json()
            ours = [each for each in found if any(str(task) in name for name in each["Names"])]
            if all(each["State"] == "running" for each in ours) and ours:
                return [each["Id"] for each in ours]
            await anyio.sleep(0.05)
    return []


def forget(worker: OwnWorker, task: Any) -> set[str]:
    """Lose what the disk kept; tells what of it the backup will not bring back."""
    lost = {type(fact).__name__ for fact in worker.facts(task)} & {"Computed"}
    for name in (JOURNAL, BOOK, "votes.db"):
        for path in worker.home.glob(f"{name}*"):
            path.unlink()
    return lost
