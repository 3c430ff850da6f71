"""A disk that runs full in the middle of a task: the worker waits, and is paid in the end."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from dying_worker import name_of
from market_lab import Lab
from own_worker import OwnWorker, pausing, until
from test_operator import Operator
from test_outages import fill, lab, small_disk
from test_stopping import facts

from tallystick.lifecycle.facts import Failed

__all__ = ["lab", "small_disk"]
pytestmark = [pytest.mark.anyio, pytest.mark.long]

FULL = "is full: a task may need"


async def test_full_while_computing_and_then_no_new_work(
    lab: Lab, small_disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    places = {
        "base_dir": f'"{small_disk}"',
        "image_cache": f'"{tmp_path / "images"}"',
        "min_free_disk": '"4MiB"',
    }
    async with pausing(lab, "Began compute", **places) as worker:
        operator = Operator(lab, "worker-1", capsys)
        first = await lab.buy("digits")
        await worker.is_paused()
        filler = fill(small_disk)
        worker.go_on()
        await worker.will_say(FULL)
        await operator.until(lambda told: "DISK_FULL" in codes(told), "why")
        assert not {"Computed", "Failed compute"} & {
            *map(name_of, worker.facts(first.tasks[0]))
        }
        filler.unlink()
        ending = await lab.see(first)
        assert ending.paid
        assert worker.said().count(f"{FULL} 4 MiB (min_free_disk). Make room; work") <= 2
        await until(lambda: last_decision(worker).startswith("asking: "), "asking for work")
        filler = fill(small_disk)
        with filler.open("r+b") as file:  # room for the journal, and too little for a task
            file.truncate(filler.stat().st_size - (2 << 20))
        await until(lambda: last_decision(worker).startswith("idle: The disk"), "idleness")
        second = await lab.buy("digits")
        story = await lab.until(second.tasks[0], lambda told: facts(told, "Initialized") == 1)
        assert facts(story, "Assigned") == 0
        filler.unlink()
        ending = await lab.see(second)
        assert ending.paid
        assert worker.process is not None
        assert worker.process.returncode is None


def last_decision(worker: OwnWorker) -> str:
    """Whether it asks for work: a demand that was held open is given up before it says no."""
    found = re.findall(r"\b(?:idle|asking): .*", worker.said())
    return found[-1] if found else ""


def codes(told: dict[str, list[dict[str, str]]]) -> list[str]:
    return [each["code"] for each in told["causes"]]


async def test_full_while_an_image_is_fetched(lab: Lab, small_disk: Path):
    images = small_disk / "images"
    options = {"executor": '"bubblewrap"', "image_cache": f'"{images}"', "min_free_disk": "1"}
    async with pausing(lab, "Assigned", **options) as worker:
        bought = await lab.buy("digits")
        (task,) = bought.tasks
        await worker.is_paused()
        filler = fill(small_disk)
        worker.go_on()
        await worker.will_say(FULL)
        assert {"Began fetch app"} <= {*map(name_of, worker.facts(task))}
        assert not any(isinstance(fact, Failed) for fact in worker.facts(task))
        filler.unlink()
        larger = ["mount", "-o", "remount,size=512m", str(small_disk)]
        subprocess.run(larger, check=True)  # noqa: ASYNC221 (it takes no time)
        ending = await lab.see(bought)
        assert ending.paid
        assert await worker.end() == 0
    assert worker.said().count(FULL) == 1, "it is said once"
