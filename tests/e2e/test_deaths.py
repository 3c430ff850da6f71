"""SIGKILL directly before and after what a worker writes down: the task is done and paid,
nothing that was signed is signed otherwise, and nothing is left. At everything that it does:
see test_every_act."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from market_lab import Lab, market_lab, only
from own_worker import OwnWorker, mortal

from tallystick.devnet.packages import PocoPackages
from tallystick.lifecycle.facts import Computed, Revealed
from tallystick.poco.values import TaskId

pytestmark = pytest.mark.anyio

FEW = (
    "before Began compute",
    "after Computed",
    "before Contributed",
    "after ConsensusReached",
    "before Uploaded",
)
"""Moments of one life for the quick suite: with no result, with one that nobody knows of, with
a transaction on its way, with a reveal owed, with an upload that was not told."""


async def life(lab: Lab, worker: OwnWorker, *moments: str) -> TaskId:
    """A task during which the worker is killed at these moments."""
    worker.doomed(*moments)
    deaths = worker.deaths
    with anyio.fail_after(100):
        ending = await lab.see(await lab.buy("corpus", "generator"))
    assert ending.paid
    assert worker.still_doomed == [""], "every one of these moments comes in a life"
    assert worker.deaths - deaths == len(moments)
    assert lab.leftovers(ending.task) == []
    nothing_was_signed_twice(worker, ending.task)
    return ending.task


def nothing_was_signed_twice(worker: OwnWorker, task: TaskId) -> None:
    """The worker's results differ at each computation, so a second vote would, too."""
    assert len(worker.signed(task, "contribute")) == 1
    assert len(worker.signed(task, "reveal")) == 1
    facts = worker.facts(task)
    (revealed,) = {fact.digest for fact in facts if isinstance(fact, Revealed)}
    assert {fact.digest for fact in facts if isinstance(fact, Computed)} == {revealed}


async def test_killed_at_what_matters_most(
    poco_packages: PocoPackages, executor: str, tmp_path: Path
):
    options: dict[str, Any] = {"workers": 1, "executor": executor, "alive": 0, "classic": True}
    async with market_lab(tmp_path, children=only(), **options) as lab, mortal(lab) as worker:
        await life(lab, worker, *FEW)
        assert (await lab.stake("worker-1"))[1] == 0
