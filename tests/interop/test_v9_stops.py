"""A worker of ours that is told to end, or to drain, under a v9 scheduler on a real chain."""

from __future__ import annotations

import signal

import anyio
import pytest
from market_lab import DEV
from test_v9_scheduler import has, pool, stage
from v9_core import CoreTask, straight_on
from v9_snapshots import LIFE
from v9_stage import PATIENCE, OwnWorker, Stage, ends, our_worker, until

from tallystick.poco.values import TaskId

__all__ = ["stage"]
pytestmark = [pytest.mark.anyio, pytest.mark.long]


async def ended(worker: OwnWorker) -> int:
    """The exit code of a worker that was told to end."""
    assert worker.process is not None
    with anyio.fail_after(PATIENCE):
        return await worker.process.wait()


async def test_a_stop_in_the_middle_hands_back_what_has_no_vote(stage: Stage):
    """The app would run for ever."""
    me = stage.wallet("worker-2")
    async with pool(stage) as scheduler, our_worker(stage, "worker-2") as worker:
        task = await stage.buy(scheduler, "endless", category=DEV)
        await has(scheduler, task, me, "COMPUTING")
        assert await worker.end() == 0
        replicate = scheduler.core.tasks[task].replicates[me]
        assert replicate.history[-1] == "ABORTED"
        assert replicate.detail("cause") == "ABORTED_BY_WORKER"
        assert (await scheduler.chain.task(task)).contributors == []
        assert stage.lab.leftovers(TaskId(task)) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
async def test_what_was_asked_for_before_the_end_is_handed_back(
    stage: Stage, number: signal.Signals
):
    """The answer to its last demand is on its way when it is told to stop, or to drain."""
    me = stage.wallet("worker-2")
    async with pool(stage) as scheduler, our_worker(stage, "worker-2") as worker:
        core, supply = scheduler.core, scheduler.core.supply

        async def slowly(wallet: str) -> CoreTask | None:
            given = await supply(wallet)
            if given is not None:
                worker.go_on(number)
                await until(lambda: "The worker is stopping." in worker.said(), "the stop")
            return given

        core.supply = slowly  # type: ignore[method-assign]
        task = await stage.buy(scheduler)
        await has(scheduler, task, me, "ABORTED")
        assert core.tasks[task].replicates[me].history == ["CREATED", "ABORTED"]
        assert await ended(worker) == 0


async def test_a_stop_after_the_vote_says_what_is_owed_and_the_next_start_does_it(
    stage: Stage,
):
    me, before = stage.wallet("worker-2"), await stage.stake("worker-2")
    async with pool(stage) as scheduler:
        async with our_worker(stage, "worker-2") as worker:

            async def gate(status: str, task: CoreTask) -> None:
                if status == "CONTRIBUTED":
                    worker.go_on(signal.SIGTERM)

            scheduler.core.gate = gate
            task = await stage.buy(scheduler)
            await has(scheduler, task, me, "CONTRIBUTED")
            assert await ended(worker) == 0
            assert f"{task}: " in worker.said()
        scheduler.core.gate = straight_on
        scheduler.exchanges.clear()
        async with our_worker(stage, "worker-2") as worker:
            await ends(scheduler, task)
            assert len(worker.signed(TaskId(task), "contribute")) == 1
            assert len(worker.signed(TaskId(task), "reveal")) == 1
        said = [each.request for each in scheduler.exchanges]
        asked = min(n for n, request in enumerate(said) if "/interrupted" in request)
        told = min(n for n, request in enumerate(said) if "/updateStatus" in request)
        assert asked < told, "who reveals and recovers then is not chosen to upload"
        assert "ABORTED" not in scheduler.core.tasks[task].replicates[me].history
        assert await stage.stake("worker-2") > before


async def test_a_drain_in_the_middle_ends_what_it_owes_and_takes_nothing_new(stage: Stage):
    """Another task is there from before the first one is computed."""
    me, before = stage.wallet("worker-2"), await stage.stake("worker-2")
    async with pool(stage) as scheduler:
        second = anyio.Event()
        async with our_worker(stage, "worker-2") as worker:

            async def gate(status: str, task: CoreTask) -> None:
                if status == "COMPUTING":
                    worker.go_on(signal.SIGUSR1)
                if status == "COMPUTED":
                    await second.wait()

            scheduler.core.gate = gate
            first = await stage.buy(scheduler)
            await worker.will_say("The worker is draining.")
            other = await stage.buy(scheduler)
            second.set()
            await ends(scheduler, first)
            assert await ended(worker) == 0
            assert scheduler.statuses(first, me) == LIFE
            assert scheduler.core.tasks[other].replicates == {}
            assert await stage.stake("worker-2") > before
        scheduler.core.gate = straight_on
        async with our_worker(stage, "worker-2"):
            await ends(scheduler, other)
        assert scheduler.statuses(other, me) == LIFE
