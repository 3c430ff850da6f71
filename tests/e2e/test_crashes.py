"""SIGKILL in the middle of a task: what was promised still happens."""

from __future__ import annotations

from pathlib import Path

import pytest
from market_lab import TINY, Lab, market_lab
from own_worker import OwnWorker

from tallystick.devnet.packages import PocoPackages

pytestmark = pytest.mark.anyio

POOL, APP = 1_000_000_000, 100_000_000


async def killed_when(lab: Lab, victim: str, moment: str) -> dict[str, int]:
    """The gains of a task during which `victim` was killed as soon as the worker knew that."""
    bought = await lab.buy("digits")
    (task,) = bought.tasks
    await OwnWorker(lab).until(task, moment)
    lab.kill(victim)
    ending = await lab.see(bought)
    assert ending.paid
    assert lab.leftovers(task) == []
    return lab.gains(ending)


EXPECTED = {
    "requester": -POOL - APP,
    "app-owner": APP,
    "scheduler": POOL // 100,
    "worker-1": POOL * 99 // 100,
}


@pytest.mark.parametrize(
    ("victim", "moment"),
    [
        ("worker-1", "Began compute"),
        pytest.param("worker-1", "Published", marks=pytest.mark.long),
        pytest.param("worker-1", "Began contribute and finalize", marks=pytest.mark.long),
        ("scheduler", "Assigned"),
        pytest.param("scheduler", "Computed", marks=pytest.mark.long),
        pytest.param("chain", "Assigned", marks=pytest.mark.long),
        ("chain", "Began contribute and finalize"),
    ],
    ids=[
        "worker computing",
        "worker before its transaction",
        "worker sending it",
        "scheduler after assigning",
        "scheduler while the worker ends it",
        "chain before the transaction",
        "chain while it is sent",
    ],
)
async def test_a_task_outlives_the_death_of_anybody(
    poco_packages: PocoPackages,
    executor: str,
    tmp_path: Path,
    victim: str,
    moment: str,
):
    async with market_lab(tmp_path, workers=1, executor=executor) as lab:
        assert await killed_when(lab, victim, moment) == EXPECTED


@pytest.mark.parametrize(
    ("victim", "moment"),
    [
        pytest.param("worker-1", "Computed", marks=pytest.mark.long),
        pytest.param("worker-1", "Contributed", marks=pytest.mark.long),
        pytest.param("worker-1", "UploadRequested", marks=pytest.mark.long),
        pytest.param("scheduler", "Revealed", marks=pytest.mark.long),
        ("chain", "Contributed"),
    ],
    ids=[
        "worker before its vote",
        "worker before its reveal",
        "worker before its upload",
        "scheduler before finalizing",
        "chain before the reveal",
    ],
)
async def test_a_task_of_four_transactions_outlives_the_death_of_anybody(
    poco_packages: PocoPackages,
    executor: str,
    tmp_path: Path,
    victim: str,
    moment: str,
):
    async with market_lab(tmp_path, workers=1, executor=executor, classic=True) as lab:
        assert await killed_when(lab, victim, moment) == EXPECTED


async def test_a_worker_killed_while_its_app_runs_leaves_nothing_running(
    poco_packages: PocoPackages, executor: str, tmp_path: Path, cache: Path
):
    async with market_lab(tmp_path, workers=1, executor=executor) as lab:
        image = lab.shelve("mischief", cache)
        bought = await lab.buy(image, "endless", category=TINY)
        (task,) = bought.tasks
        await OwnWorker(lab).until(task, "Began compute")
        lab.kill("worker-1")
        ending = await lab.see(bought)
        assert not ending.paid
        assert lab.leftovers(task) == []
