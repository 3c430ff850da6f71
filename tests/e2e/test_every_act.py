"""SIGKILL before and after every act of a worker and of its scheduler, in complete lives.

In each life everybody dies once at every act that is met: nothing has to be enumerated, and
nothing can be forgotten. Workers that share a task share their deaths. See `acts`.
"""

from __future__ import annotations

import pytest
from doomed_market import (
    ENDS,
    FINISHES,
    GIVES,
    LONG,
    REVEALS,
    ROLES,
    WORKS,
    Stage,
    revealed_what_it_computed,
    signed_once,
)

from tallystick.lifecycle.facts import Finalized

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def die_at_start() -> bool:
    return True


@pytest.mark.parametrize("finish", [False, True], ids=["four transactions", "one transaction"])
async def test_one_worker_and_its_scheduler(stage: Stage, finish: bool):
    async with stage.alive("worker-1", finish=finish) as (worker,):
        await stage.lab.workers_are_back(1)
        stage.doom()
        ending = await stage.lab.see(await stage.lab.buy("corpus", "generator"), LONG)
        assert ending.paid
        task, died = ending.task, {role: {*stage.died(role)} for role in ROLES}
        stage.spare()
        calls = ("finish",) if finish else ("contribute", "reveal")
        assert signed_once(worker, task, *calls)
        assert revealed_what_it_computed(worker, task)
        assert sum(isinstance(fact, Finalized) for fact in worker.facts(task)) == 1
        assert stage.lab.gains(ending)["worker-1"] > 0
        assert (await stage.lab.stake("worker-1"))[1] == 0
        assert stage.lab.leftovers(task) == []
        assert died["worker"] >= (FINISHES if finish else WORKS | REVEALS)
        assert died["scheduler"] >= (GIVES if finish else GIVES | ENDS)
