"""From `tally up` to a paid task, on a machine that has everything it needs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from anyio import to_thread

from tallystick.bench.report import Options, Report, promised

NAME = "first-task"
SUMMARY = "seconds from `tally up` to the first paid task, everything downloaded before"

LIMIT = 10.0
"""Seconds beside the job itself: what we promise."""

_RUNS = 2


async def run(options: Options) -> Report:
    """Whole programs: a market that is new each time, then one that goes on."""
    count = options.samples(_RUNS)
    new = [await _up(options.work / f"new-{n}") for n in range(count + 1)][1:]
    again = [await _up(options.work / "new-0") for _ in range(count)]
    rows = (
        promised("a new market, median", median(new), "s", LIMIT),
        promised("a market that goes on, median", median(again), "s", LIMIT),
    )
    notes = (
        f"{count} runs of `tally up --once` each, after one to warm up; the time from the start"
        " of the program to its end, without the time that the job ran.",
    )
    return Report(bench=NAME, rows=rows, notes=notes)


async def _up(data: Path) -> float:
    return await to_thread.run_sync(_timed, data)


def _timed(data: Path) -> float:
    """Seconds of one `tally up --once`, without its job."""
    command = [
        sys.executable,
        "-m",
        "tallystick",
        "up",
        "--once",
        "--json",
        "--data",
        str(data),
    ]
    began = time.monotonic()
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    seconds = time.monotonic() - began
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seconds - float(said["computing_seconds"])
