"""SIGKILL after every single fact of lives that are shared, begun anew, or end badly.

Three workers are killed in turns, so that the three of them die after each fact that any of
them writes down: `Dying.nothing_was_spared` looks into their journals for what was left out.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import pytest
from dying_worker import name_of
from market_lab import Lab, market_lab, only
from own_worker import MORTAL, OwnWorker, mortal, until, usual
from test_status_causes import later
from test_stopping import THREE, facts
from votes_by_hand import vote

from tallystick.chain.records import TaskState
from tallystick.devnet.packages import PocoPackages
from tallystick.poco.values import TaskId

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(600)]

BEFORE = (
    *("Ordered", "Initialized", "Assigned", "Began start", "Started", "Began fetch app"),
    *("AppFetched", "Began fetch data", "DataFetched", "Began compute", "Computed"),
    *("Began check", "Checked", "Began contribute", "Contributed"),
)
WON = ("ConsensusReached", "Began reveal", "Revealed")
UPLOAD = ("UploadRequested", "Began upload", "Uploaded")
PAID = ("Finalized", "Began complete", "Completed")
UNIT = 300
"""Seconds of the category: so long that nothing ends but by the chain's clock."""
LONG = 280.0
"""Seconds that any of this may take where many starts of a worker go on at the same time."""
NAMES = ("worker-1", "worker-2", "worker-3")


@pytest.fixture(scope="module")
async def lab(
    poco_packages: PocoPackages, executor: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Lab]:
    """A market whose fourth worker is a wallet alone."""
    folder = tmp_path_factory.mktemp("market")
    options: dict[str, Any] = {"workers": 4, "executor": executor, "alive": 0, "classic": True}
    async with market_lab(folder, children=only(), **options) as lab:
        yield lab


@dataclass
class Dying:
    """Workers that are killed after facts which are dealt out among them."""

    workers: list[OwnWorker]

    def doom(self, names: tuple[str, ...], everybody: tuple[str, ...] = ()) -> None:
        """Each dies after its share of `names`, and after whatever it meets of `everybody`."""
        many = len(self.workers)
        for number, worker in enumerate(self.workers):
            mine = (*names[number::many], *everybody)
            worker.doomed(*(f"after {name}" for name in mine))

    async def have_died(self, names: tuple[str, ...], everybody: tuple[str, ...] = ()) -> None:
        """Return when they have, each after all of its share; of `everybody` one at least."""
        many = len(self.workers)

        def all_have() -> bool:
            left = [{each for each in w.still_doomed if each} for w in self.workers]
            shares = [{f"after {n}" for n in names[i::many]} for i in range(many)]
            alone = set.intersection(*left) & {f"after {name}" for name in everybody}
            return not alone and not any(a & b for a, b in zip(left, shares, strict=True))

        await until(all_have, "deaths that were told", LONG)

    def nothing_was_spared(self, task: TaskId, names: tuple[str, ...]) -> None:
        for worker in self.workers:
            assert {*map(name_of, worker.facts(task))} <= {*names}


@asynccontextmanager
async def dying(lab: Lab, *names: str) -> AsyncIterator[Dying]:
    async with AsyncExitStack() as stack:
        started = [await stack.enter_async_context(mortal(lab, n, MORTAL)) for n in names]
        await lab.workers_are_back(len(names))
        yield Dying(started)


def has_one(worker: OwnWorker, tasks: tuple[TaskId, ...]) -> bool:
    """Whether one of these tasks is assigned to it."""
    return any("Assigned" in map(name_of, worker.facts(task)) for task in tasks)


def signed_once(worker: OwnWorker, task: TaskId, *calls: str) -> bool:
    return all(len(worker.signed(task, call)) == 1 for call in calls)


async def was_killed(worker: OwnWorker) -> None:
    """Return once it has died as it was told to."""
    assert worker.process is not None
    with anyio.fail_after(LONG):
        assert await worker.process.wait() == -signal.SIGKILL


async def test_three_that_have_to_agree(lab: Lab):
    names = BEFORE + WON + PAID
    async with dying(lab, *NAMES) as them:
        them.doom(names, UPLOAD)
        bought = await lab.buy("corpus", "generator", trust=THREE)
        (task,) = bought.tasks
        ending = await lab.see(bought, LONG)
        assert ending.paid
        await them.have_died(names, UPLOAD)
        gains = lab.gains(ending)
        assert gains["worker-1"] == gains["worker-2"] == gains["worker-3"] > 0
        for worker in them.workers:
            assert signed_once(worker, task, "contribute", "reveal")
            assert (await lab.stake(worker.name))[1] == 0
        them.nothing_was_spared(task, names + UPLOAD)
        assert lab.leftovers(task) == []


async def test_others_do_again_what_nobody_revealed(lab: Lab):
    """Two tasks are reopened: the vote of a worker that was stopped, and one by hand."""
    names = (*BEFORE, *WON, "Reopened", *UPLOAD, *PAID)
    OwnWorker(lab).doomed("after ConsensusReached")
    async with usual(lab, "worker-1", MORTAL) as first:
        await lab.workers_are_back(1)
        one = await lab.buy("corpus", "generator")
        await was_killed(first)
        two = await lab.buy("corpus", "generator")
        tasks = (one.tasks[0], two.tasks[0])
        await lab.until(tasks[1], lambda story: facts(story, "Initialized") == 1)
        await vote(lab, "worker-4", tasks[1])
        await later(lab, 2 * UNIT + 1)
        for task in tasks:
            await lab.until(task, lambda story: facts(story, "Reopened") == 1)
        async with dying(lab, "worker-2", "worker-3") as them:
            them.doom(names)
            await until(
                lambda: all(has_one(each, tasks) for each in them.workers), "both", LONG
            )
            first.doomed("after Reopened")
            await first.start(MORTAL)
            await was_killed(first)
            await first.start()
            endings = [await lab.see(bought, LONG) for bought in (one, two)]
            await them.have_died(names)
            for ending in endings:
                assert ending.paid
                (winner,) = [w for w in them.workers if lab.gains(ending).get(w.name, 0) > 0]
                assert signed_once(winner, ending.task, "contribute", "reveal")
                them.nothing_was_spared(ending.task, names)
                assert lab.leftovers(ending.task) == []
        assert lab.gains(endings[0])["worker-1"] < 0, "the vote that it did not reveal"
        assert first.signed(tasks[0], "reveal") == set()
        assert await first.end() == 0


async def test_a_stake_is_claimed_back_whoever_dies(lab: Lab):
    """Three vote where more would have to, the scheduler hangs, and the task fails."""
    names = (*BEFORE, "Claimed", "Aborted")
    before = [await lab.stake(name) for name in NAMES]
    async with dying(lab, *NAMES) as them:
        them.doom(names)
        bought = await lab.buy("corpus", "generator", trust=1_000)
        (task,) = bought.tasks
        await lab.until(task, lambda story: facts(story, "Contributed") == 3, LONG)
        await them.have_died(BEFORE)
        os.kill(lab.pid("scheduler"), signal.SIGSTOP)
        try:
            await later(lab, 11 * UNIT + 1)
            with anyio.fail_after(LONG):
                while [await lab.stake(name) for name in NAMES] != before:  # noqa: ASYNC110
                    await anyio.sleep(0.2)
            known = await lab.session.hub.task(task)
            assert known is not None
            assert known.state is TaskState.FAILED
        finally:
            os.kill(lab.pid("scheduler"), signal.SIGCONT)
        await them.have_died(names)
        ending = await lab.see(bought, LONG)
        assert not ending.paid
        assert any("claimed back" in worker.said() for worker in them.workers)
        them.nothing_was_spared(task, names)
        for worker in them.workers:
            assert signed_once(worker, task, "contribute")
        assert lab.leftovers(task) == []
