"""SIGKILL before and after every act of workers that claim their stakes back from a task that
nobody ends, and of their scheduler."""

from __future__ import annotations

import anyio
import pytest
from doomed_market import (
    CLAIMS,
    GIVES,
    LEARNS,
    LONG,
    UNIT,
    WORKS,
    Stage,
    signed_once,
)
from test_status_causes import later
from test_stopping import facts

from tallystick.chain.records import TaskState

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(900)]


async def test_a_stake_is_claimed_back_whoever_dies(stage: Stage):
    """Three vote where more would have to, the scheduler hangs, and the task fails."""
    lab, names = stage.lab, [f"worker-{n}" for n in (1, 2, 3)]
    before = [await lab.stake(name) for name in names]
    async with stage.alive(*names, words=("unchecked", "same")) as workers:
        await lab.workers_are_back(3)
        stage.doom("worker", "scheduler")
        bought = await lab.buy("corpus", "generator", trust=1_000)
        (task,) = bought.tasks
        await lab.until(task, lambda story: facts(story, "Contributed") == 3, LONG)
        async with stage.scheduler_hangs():
            await later(lab, 11 * UNIT + 1)
            with anyio.fail_after(LONG):
                while [await lab.stake(name) for name in names] != before:  # noqa: ASYNC110
                    await anyio.sleep(0.2)
            known = await lab.session.hub.task(task)
            assert known is not None
            assert known.state is TaskState.FAILED
        ending = await lab.see(bought, LONG)
        assert not ending.paid
        died = stage.deaths()
        stage.spare()
        assert any("claimed back" in worker.said() for worker in workers)
        for worker in workers:
            assert signed_once(worker, task, "contribute")
        assert [await lab.stake(name) for name in names] == before
        assert lab.leftovers(task) == []
        assert died["worker"] >= WORKS | CLAIMS
        assert died["scheduler"] >= GIVES | LEARNS
