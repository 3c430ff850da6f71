"""The two ends that an operator types: when all is done, and at once."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from market_lab import DEV, Lab
from own_worker import until, usual
from test_operator import Operator
from test_stopping import facts, lab, running

__all__ = ["lab"]
pytestmark = [pytest.mark.anyio, pytest.mark.long]


async def test_a_drain_by_command_finishes_what_was_begun_and_takes_nothing_new(
    lab: Lab, capsys: pytest.CaptureFixture[str]
):
    async with usual(lab) as worker:
        operator = Operator(lab, "worker-1", capsys)
        await lab.workers_are_back(1)
        first = await lab.buy("digits")
        await worker.until(first.tasks[0], "Began compute")
        code, out, err = await operator.types("stop", "--drain")
        assert (code, err) == (0, "")
        assert "finishes what it has begun" in out
        second = await lab.buy("digits")
        ending = await lab.see(first)
        assert ending.paid
        assert lab.gains(ending)["worker-1"] > 0
        story = await lab.story(first.tasks[0])
        assert [facts(story, kind) for kind in ("Revealed", "Finalized")] == [1, 1]
        assert worker.process is not None
        assert await worker.process.wait() == 0
        story = await lab.until(second.tasks[0], lambda told: facts(told, "Initialized") == 1)
        assert facts(story, "Assigned") == 0, "another worker may have it"
        assert worker.facts(second.tasks[0]) == []
        assert lab.leftovers(first.tasks[0]) == [], "no container and no folder"
        async with usual(lab, "worker-2"):
            assert (await lab.see(second)).paid


async def test_a_second_interrupt_ends_at_once_and_the_next_start_tidies_up(
    lab: Lab, cache: Path
):
    """The scheduler does not answer, so that the worker would wait for it."""
    image = lab.shelve("mischief", cache)
    async with usual(lab) as worker:
        await lab.workers_are_back(1)
        (task,) = (await lab.buy(image, "endless", category=DEV)).tasks
        await worker.until(task, "Began compute")
        os.kill(lab.pid("scheduler"), signal.SIGSTOP)
        try:
            assert worker.process is not None
            worker.process.send_signal(signal.SIGINT)
            await worker.will_say("The worker is stopping.")
            assert await worker.end(signal.SIGINT) == 128 + signal.SIGINT
        finally:
            os.kill(lab.pid("scheduler"), signal.SIGCONT)
        assert "Stopped at once: the next start takes away what is left." in worker.said()
        assert lab.leftovers(task) != [], "nothing was tidied up any more"
        await worker.start()
        await worker.will_say("all set", times=4)
        await until(lambda: lab.leftovers(task) == [], "nothing is left")
        assert await worker.end() == 0


async def test_a_container_that_an_end_at_once_left_is_removed_at_the_next_start(
    lab: Lab, cache: Path
):
    """Both signals arrive together: there is no time to remove anything."""
    if "DOCKER_HOST" not in os.environ:
        pytest.skip("only Docker keeps an app running without its worker")
    image = lab.shelve("mischief", cache)
    async with usual(lab) as worker:
        await lab.workers_are_back(1)
        (task,) = (await lab.buy(image, "endless", category=DEV)).tasks
        await worker.until(task, "Began compute")
        (before,) = await running(task)
        assert worker.process is not None
        for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGINT):
            worker.process.send_signal(number)
        code = await worker.end(signal.SIGCONT)
        assert code in (128 + signal.SIGTERM, 128 + signal.SIGINT)
        assert await running(task) == [before], "it runs on without its worker"
        await worker.start()
        await worker.will_say("all set", times=4)
        await until(lambda: lab.leftovers(task) == [], "nothing is left")
        assert await worker.end() == 0
