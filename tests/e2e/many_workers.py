"""Many worker processes on one pool, by hand: every fifth lies, two are killed again and again,
one falls silent. Not part of the suite:

    .venv/bin/python tests/e2e/many_workers.py --workers 50 --tasks 30

Prints figures: what became of the tasks, lies and crashes, how long it took, and what memory
all processes of the market had at most.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from market_lab import Lab, market_lab, with_worker
from test_ten_workers import LIAR, LIE, over, stopped

from tallystick.chain.records import TaskState
from tallystick.devnet.services import Plan, services
from tallystick.devnet.supervise import Service
from tallystick.poco.contribution import result_hash
from tallystick.poco.values import TaskId

PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Figures:
    """What is counted while it runs."""

    crashes: int = 0
    peak_mib: float = 0
    processes: int = 0
    load: list[float] = field(default_factory=list[float])


def lying(numbers: set[int]) -> Any:
    """The usual processes, but these workers lie."""

    def children(plan: Plan, console: Any, memory: Any) -> list[Service]:
        usual = {each.name: each for each in services(plan, console, memory)}
        for number in numbers:
            found = with_worker(number, LIAR)(plan, console, memory)
            usual |= {each.name: each for each in found if each.name == f"worker-{number}"}
        return list(usual.values())

    return children


def resident(pid: int) -> int:
    """Pages of a process that are in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1])


async def watched(lab: Lab, figures: Figures) -> None:
    """Sum up the resident memory of the market's processes, again and again."""
    while True:
        pages, pids = 0, set(lab.market.pids.values())
        for pid in pids:
            with suppress(OSError):
                pages += resident(pid)
        figures.peak_mib = max(figures.peak_mib, pages * PAGE / 2**20)
        figures.processes = max(figures.processes, len(pids))
        figures.load.append(os.getloadavg()[0])
        await anyio.sleep(1)


async def killed(lab: Lab, name: str, tasks: list[TaskId], figures: Figures) -> None:
    """SIGKILL whenever a task has ended; the market starts it again."""
    for task in tasks:
        while not await over(lab, task):  # noqa: ASYNC110 (a node)
            await anyio.sleep(0.5)
        with suppress(ProcessLookupError):
            lab.kill(name)
            figures.crashes += 1


async def told(lab: Lab, tasks: list[TaskId], began: float) -> None:
    """How far it is, on stderr."""
    while True:
        ended = [task for task in tasks if await over(lab, task)]
        line = f"{time.monotonic() - began:5.0f} s: {len(ended)} of {len(tasks)} tasks are over"
        print(line, file=sys.stderr, flush=True)
        await anyio.sleep(15)


async def all_over(lab: Lab, tasks: list[TaskId], patience: float) -> None:
    with anyio.move_on_after(patience):
        for task in tasks:
            while not await over(lab, task):  # noqa: ASYNC110 (a node)
                await anyio.sleep(0.5)


async def trial(workers: int, count: int, executor: str, patience: float) -> dict[str, Any]:
    """The figures of one run."""
    liars, figures = set(range(5, workers + 1, 5)), Figures()
    options = {"workers": workers, "executor": executor, "children": lying(liars), "alive": 0}
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        async with (
            market_lab(Path(folder), **options) as lab,
            anyio.create_task_group() as group,
        ):
            group.start_soon(watched, lab, figures)
            await all_alive(lab, workers)
            ready = time.monotonic()
            async with stopped(lab, "worker-2"):
                bag = await lab.buy("corpus", "generator", trust=5, count=count)
                single = await lab.buy("corpus", "generator")
                tasks = [*bag.tasks, *single.tasks]
                group.start_soon(told, lab, tasks, began)
                for name in ("worker-1", "worker-3"):
                    group.start_soon(killed, lab, name, tasks[: count // 2], figures)
                await all_over(lab, tasks, patience)
            ended = time.monotonic()
            found = await outcome(lab, tasks, liars)
            group.cancel_scope.cancel()
    return found | {
        "workers": workers,
        "liars": len(liars),
        "crashes": figures.crashes,
        "seconds until all were there": round(ready - began, 1),
        "seconds for the tasks": round(ended - ready, 1),
        "processes": figures.processes,
        "memory of all, MiB at most": round(figures.peak_mib),
        "load of the machine, at most": round(max(figures.load), 1),
    }


async def all_alive(lab: Lab, workers: int) -> None:
    while True:
        known = (await lab.http.get(f"{lab.market.scheduler_url}/workers")).json()
        alive = sum(each["alive"] for each in known)
        print(f"{alive} of {workers} workers are there", file=sys.stderr, flush=True)
        if alive >= workers:
            return
        await anyio.sleep(5)


async def outcome(lab: Lab, tasks: list[TaskId], liars: set[int]) -> dict[str, Any]:
    """What the chain says of the tasks and of the stakes."""
    states: dict[str, int] = {}
    lies, believed = 0, 0
    voices = {lab.market.accounts[f"worker-{number}"] for number in liars}
    for task in tasks:
        known = await lab.session.hub.task(task)
        name = known.state.name if known else TaskState.UNSET.name
        states[name] = states.get(name, 0) + 1
        if known is not None:
            lies += sum(each in voices for each in known.contributors)
            believed += known.consensus == result_hash(task, LIE)
    locked = [(await lab.stake(name))[1] for name in lab.market.accounts if "worker-" in name]
    return {
        "tasks": states,
        "votes of liars": lies,
        "lies that won": believed,
        "stakes that stayed locked": sum(each > 0 for each in locked),
    }


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    words.add_argument("--workers", type=int, default=50)
    words.add_argument("--tasks", type=int, default=30)
    words.add_argument("--executor", default="bubblewrap")
    words.add_argument("--patience", type=float, default=900, help="seconds for the tasks")
    chosen = words.parse_args()
    found = anyio.run(trial, chosen.workers, chosen.tasks, chosen.executor, chosen.patience)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
