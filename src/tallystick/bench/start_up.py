"""How long our commands take until they say something, beside Python alone."""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median

from anyio import to_thread

from tallystick.bench.report import Options, Report, Row

NAME = "start-up"
SUMMARY = "milliseconds that commands take, from their start to their end, beside Python alone"

_SAMPLES = 7
_TALLY = ("-m", "tallystick")
_ALONE = "python3 -c pass"
COMMANDS = {
    _ALONE: ("-c", "pass"),
    "import tallystick": ("-c", "import tallystick"),
    "import of all that a worker runs": ("-c", "import tallystick.worker.app"),
    "import of all that a scheduler runs": ("-c", "import tallystick.scheduler.app"),
    "tally --version": (*_TALLY, "--version"),
    "tally worker --help": (*_TALLY, "worker", "--help"),
}
"""What is run, by what it is called."""


async def run(options: Options) -> Report:
    """Each command in turn, so that all see the same load."""
    count = options.samples(_SAMPLES)
    times = await to_thread.run_sync(_timed, count)
    figures = {name: 1000 * median(seconds) for name, seconds in times.items()}
    alone = figures[_ALONE]
    rows = tuple(
        Row(what=name, figure=figure, unit="ms", reference=alone, against="Python alone")
        for name, figure in figures.items()
    )
    notes = (f"median of {count} each, after one to warm up, in turns.",)
    return Report(bench=NAME, rows=rows, notes=notes)


def _timed(count: int) -> dict[str, list[float]]:
    """Seconds of each run."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(count + 1):
        for name, words in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, capture_output=True)
            if turn:
                times[name].append(time.perf_counter() - began)
    return times
