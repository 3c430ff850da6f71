"""A disk that runs full in the middle of a task: the worker waits, and is paid in the end."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from market_lab import Lab
from own_worker import DYING, OwnWorker, usual
from test_operator import Operator
from test_outages import fill, lab, small_disk
from test_stopping import facts

__all__ = ["lab", "small_disk"]
pytestmark = [pytest.mark.anyio, pytest.mark.long]

FULL = "is full: a task may need"


async def until(met: Callable[[], bool], what: str) -> None:
    """Wait for another process. Raises AssertionError with `what` was waited for."""
    with anyio.move_on_after(30):
        while not met():  # noqa: ASYNC110 (another process)
            await anyio.sleep(0.05)
        return
    raise AssertionError(f"in vain: {what}")


def is_stopped(worker: OwnWorker) -> bool:
    assert worker.process is not None
    stat = Path(f"/proc/{worker.process.pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "T"


async def test_full_while_computing_and_then_no_new_work(
    lab: Lab, small_disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    worker, images = OwnWorker(lab), tmp_path / "images"
    worker.change(base_dir=f'"{small_disk}"', image_cache=f'"{images}"', min_free_disk='"4MiB"')
    worker.doomed("pause after Began compute")
    process, operator = await worker.start(DYING), Operator(lab, "worker-1", capsys)
    try:
        await lab.workers_are_back(1)
        first = await lab.buy("digits")
        await until(lambda: is_stopped(worker), "the worker about to compute")
        filler = fill(small_disk)
        process.send_signal(signal.SIGCONT)
        await until(lambda: FULL in worker.said(), "a complaint about the disk")
        await operator.until(lambda told: "DISK_FULL" in codes(told), "why")
        story = await lab.story(first.tasks[0])
        assert facts(story, "Computed") + facts(story, "Failed") == 0
        filler.unlink()
        ending = await lab.see(first)
        assert ending.paid
        assert worker.said().count(f"{FULL} 4 MiB (min_free_disk). Make room; work") <= 2
        filler = fill(small_disk)
        with filler.open("r+b") as file:  # room for the journal, and too little for a task
            file.truncate(filler.stat().st_size - (2 << 20))
        await operator.until(lambda told: "DISK_FULL" in codes(told), "why")
        second = await lab.buy("digits")
        story = await lab.until(second.tasks[0], lambda told: facts(told, "Initialized") == 1)
        assert facts(story, "Assigned") == 0
        filler.unlink()
        ending = await lab.see(second)
        assert ending.paid
        assert process.returncode is None
    finally:
        process.kill()
        await process.wait()


def codes(told: dict[str, list[dict[str, str]]]) -> list[str]:
    return [each["code"] for each in told["causes"]]


async def test_full_while_an_image_is_fetched(lab: Lab, small_disk: Path):
    images = small_disk / "images"
    options = {"executor": '"bubblewrap"', "image_cache": f'"{images}"', "min_free_disk": "1"}
    async with usual(lab, **options) as worker:
        await lab.workers_are_back(1)
        filler = fill(small_disk)
        bought = await lab.buy("digits")
        (task,) = bought.tasks
        await lab.until(task, lambda story: facts(story, "Began", "fetch app") == 1)
        await until(lambda: FULL in worker.said(), "a complaint about the disk")
        assert facts(await lab.story(task), "Failed") == 0
        filler.unlink()
        larger = ["mount", "-o", "remount,size=512m", str(small_disk)]
        subprocess.run(larger, check=True)  # noqa: ASYNC221 (it takes no time)
        ending = await lab.see(bought)
        assert ending.paid
        assert await worker.end() == 0
    assert worker.said().count(FULL) == 1, "it is said once"
