"""A vote that decides by itself also finalizes its task: one transaction of the worker, none of
the scheduler but the first, and no stake."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, get_args

import anyio
import pytest
from market_lab import Lab, market_lab, only
from own_worker import OwnWorker, mortal, usual

from tallystick.devnet.packages import PocoPackages
from tallystick.devnet.places import Places
from tallystick.engine.read_only import JournalView
from tallystick.lifecycle.facts import Computed, Fact, Finalized, Revealed
from tallystick.lifecycle.history import history, names
from tallystick.lifecycle.vocabulary import SHORTCUT
from tallystick.poco.values import TaskId

pytestmark = pytest.mark.anyio


def calls(book: Path, task: TaskId) -> list[str]:
    """What the wallet of a book did for `task`, in order; what was given up left out."""
    with closing(sqlite3.connect(f"file:{book}?mode=ro", uri=True)) as db:
        rows = db.execute(
            "SELECT data, what FROM entry WHERE state != 'given up' ORDER BY nonce"
        ).fetchall()
    return [what.split()[0] for data, what in rows if data[4:36] == bytes(task)]


def by_worker(lab: Lab, task: TaskId, name: str = "worker-1") -> list[str]:
    return calls(Places(lab.market.data).data("workers") / name / "transactions.db", task)


def by_scheduler(lab: Lab, task: TaskId) -> list[str]:
    return calls(Places(lab.market.data).data("scheduler") / "transactions.db", task)


def names_of(lab: Lab, task: TaskId) -> list[str]:
    """The v9 names that the task's only replicate had, as the scheduler knows them."""
    place = Places(lab.market.data).data("scheduler") / "journal.db"
    journal = JournalView[Fact](place, get_args(Fact))
    try:
        (rows,) = history(journal.read(stream=str(task))).values()
    finally:
        journal.close()
    return list(names(rows, "modern"))


async def test_one_transaction_pays_without_a_stake(
    poco_packages: PocoPackages, executor: str, tmp_path: Path
):
    options: dict[str, Any] = {"workers": 1, "executor": executor}
    async with market_lab(tmp_path, **options) as lab:
        before = await lab.stake("worker-1")
        ending = await lab.see(await lab.buy("corpus", "generator"))
        assert ending.paid
        assert by_worker(lab, ending.task) == ["finish"]
        assert by_scheduler(lab, ending.task) == [], "its own task was opened by deal"
        free, locked = await lab.stake("worker-1")
        assert (free - before[0], locked) == (lab.gains(ending)["worker-1"], 0)
        assert lab.gains(ending)["worker-1"] > 0
        output = lab.out / str(ending.task)
        assert (output / "computed.json").is_file(), "what was published early is served"
        assert lab.leftovers(ending.task) == []


async def life(lab: Lab, worker: OwnWorker, *moments: str) -> TaskId:
    """A task during which the worker is killed at these moments."""
    worker.doomed(*moments)
    deaths = worker.deaths
    with anyio.fail_after(150):
        ending = await lab.see(await lab.buy("corpus", "generator"))
    assert ending.paid
    assert worker.still_doomed == [""], "every one of these moments comes in a life"
    assert worker.deaths - deaths == len(moments)
    assert lab.leftovers(ending.task) == []
    facts = worker.facts(ending.task)
    assert len(worker.signed(ending.task, "finish")) == 1
    (revealed,) = {fact.digest for fact in facts if isinstance(fact, Revealed)}
    assert {fact.digest for fact in facts if isinstance(fact, Computed)} == {revealed}
    assert sum(isinstance(fact, Finalized) for fact in facts) == 1
    return ending.task


FEW = (
    "before Published",
    "after Published",
    "after Began contribute and finalize",
    "before Contributed",
    "after ConsensusReached",
)
"""With the result in the store and nobody who knows; with a transaction that may have left;
with half of what one transaction did."""


async def test_killed_around_the_one_transaction(
    poco_packages: PocoPackages, executor: str, tmp_path: Path
):
    options: dict[str, Any] = {"workers": 1, "executor": executor, "alive": 0}
    async with market_lab(tmp_path, children=only(), **options) as lab, mortal(lab) as worker:
        await life(lab, worker, *FEW)
        assert (await lab.stake("worker-1"))[1] == 0


async def test_a_worker_that_votes_in_the_classic_way_in_the_same_pool(
    poco_packages: PocoPackages, executor: str, tmp_path: Path
):
    """It is asked for its stake and paid, as by a scheduler that knows nothing else."""
    options: dict[str, Any] = {"workers": 1, "executor": executor, "alive": 0}
    async with market_lab(tmp_path, children=only(), **options) as lab:
        async with usual(lab, contribute_and_finalize="false"):
            await lab.workers_are_back(1)
            ending = await lab.see(await lab.buy("corpus", "generator"))
            assert ending.paid
            assert by_worker(lab, ending.task) == ["contribute", "reveal"]
        async with usual(lab, contribute_and_finalize="true"):
            await lab.workers_are_back(1)
            ending = await lab.see(await lab.buy("corpus", "generator"))
            assert by_worker(lab, ending.task) == ["finish"]
            assert names_of(lab, ending.task) == [*SHORTCUT]
