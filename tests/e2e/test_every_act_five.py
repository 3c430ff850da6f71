"""SIGKILL before and after every act of workers that have to agree, and of their scheduler."""

from __future__ import annotations

import pytest
from aftermath import books_agree_with_the_chain, tells, the_scheduler_tells
from doomed_market import (
    ENDS,
    GIVES,
    LIAR,
    LONG,
    LOSES,
    REVEALS,
    WORKS,
    Stage,
    signed_once,
)

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(900)]


async def test_five_one_of_whom_lies(stage: Stage):
    lab, honest = stage.lab, [f"worker-{n}" for n in (1, 2, 3, 4)]
    async with stage.alive("worker-5", words=("unchecked", "lie"), role=LIAR) as (liar,):
        await lab.workers_are_back(1)
        stage.doom("scheduler")
        bought = await lab.buy("corpus", "generator", trust=5)
        (task,) = bought.tasks
        await liar.until(task, "Contributed")
        stage.doom("worker", LIAR)
        async with stage.alive(*honest, words=("unchecked", "same")) as workers:
            ending = await lab.see(bought, LONG)
            assert ending.paid
            gains = lab.gains(ending)
            assert all(gains[name] > 0 for name in honest)
            assert gains["worker-5"] < 0
            assert gains["scheduler"] > 0
            assert sum(gains.values()) == 0, "nothing is lost, nothing made"
            died = stage.deaths()
            stage.spare()
            for worker in workers:
                assert signed_once(worker, task, "contribute", "reveal")
                assert tells(worker, task, Assigned=1, Computed=1, Revealed=4, Finalized=1)
            assert signed_once(liar, task, "contribute")
            assert liar.signed(task, "reveal") == set()
            for name in (*honest, "worker-5"):
                assert (await lab.stake(name))[1] == 0
            assert lab.leftovers(task) == []
            await the_scheduler_tells(
                lab, task, Assigned=5, Contributed=5, Revealed=4, Finalized=1
            )
            await books_agree_with_the_chain(
                lab, stage.begins, *honest, "worker-5", "scheduler"
            )
            assert died["worker"] >= WORKS | REVEALS
            assert died["scheduler"] >= GIVES | ENDS
            assert died[LIAR] >= LOSES
