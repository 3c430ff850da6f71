"""SIGKILL before and after every act of workers and of their scheduler, when a task is opened
again because nobody revealed."""

from __future__ import annotations

import pytest
from doomed_market import (
    ENDS,
    GIVES,
    GIVES_AGAIN,
    LONG,
    REVEALS,
    UNIT,
    WORKS,
    Stage,
    signed_once,
    was_killed,
)
from own_worker import MORTAL, OwnWorker, until, usual
from test_status_causes import later
from test_stopping import facts
from votes_by_hand import vote

from tallystick.lifecycle.facts import Assigned
from tallystick.poco.values import TaskId

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(900)]


def is_given(task: TaskId, workers: list[OwnWorker]) -> bool:
    """Whether one of these works at it. The first one, back too early, would take it itself."""
    known = (worker.facts(task) for worker in workers)
    return any(isinstance(fact, Assigned) for facts in known for fact in facts)


async def test_others_do_again_what_nobody_revealed(stage: Stage):
    """Two tasks are reopened: the vote of a worker that was stopped, and one by hand."""
    lab, first = stage.lab, OwnWorker(stage.lab, "worker-1")
    first.doomed("after ConsensusReached")
    async with usual(lab, "worker-1", MORTAL, contribute_and_finalize="false") as first:
        await lab.workers_are_back(1)
        stage.doom("scheduler")
        one = await lab.buy("corpus", "generator")
        await was_killed(first)
        two = await lab.buy("corpus", "generator")
        tasks = (one.tasks[0], two.tasks[0])
        await lab.until(tasks[1], lambda story: facts(story, "Initialized") == 1, LONG)
        await vote(lab, "worker-6", tasks[1])
        stage.doom("worker")
        await later(lab, 2 * UNIT + 1)
        for task in tasks:
            await lab.until(task, lambda story: facts(story, "Reopened") == 1, LONG)
        async with stage.alive("worker-2", "worker-3", words=("unchecked", "same")) as others:
            await until(lambda: all(is_given(task, others) for task in tasks), "both", LONG)
            first.doomed("after Reopened")
            await first.start(MORTAL)
            await was_killed(first)
            await first.start()
            endings = [await lab.see(bought, LONG) for bought in (one, two)]
            died = stage.deaths()
            stage.spare()
            for ending in endings:
                assert ending.paid
                (winner,) = [w for w in others if lab.gains(ending).get(w.name, 0) > 0]
                assert signed_once(winner, ending.task, "contribute", "reveal")
                assert (await lab.stake(winner.name))[1] == 0
                assert sum(lab.gains(ending).values()) == 0, "nothing is lost, nothing made"
                assert lab.leftovers(ending.task) == []
            assert died["worker"] >= WORKS | REVEALS
            assert died["scheduler"] >= GIVES | GIVES_AGAIN | ENDS
        assert lab.gains(endings[0])["worker-1"] < 0, "the vote that it did not reveal"
        assert lab.gains(endings[1])["worker-6"] < 0, "the vote by hand"
        for loser in ("worker-1", "worker-6"):
            assert (await lab.stake(loser))[1] == 0
        assert first.signed(tasks[0], "reveal") == set()
        assert await first.end() == 0
