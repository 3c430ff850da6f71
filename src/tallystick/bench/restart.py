"""How long a scheduler takes from its start to its first answer, by what it has to know."""

from __future__ import annotations

from statistics import median

from tallystick.bench.pool_lab import aside, lab, scheduler, sizes
from tallystick.bench.report import Options, Report, Row, Sized

NAME = "restart"
SUMMARY = "seconds until a scheduler answers again, by its unfinished tasks"

LIMIT = 5.0
"""Seconds that we promise with 10,000 unfinished tasks."""
_RUNS = 3


async def run(options: Options, only: tuple[int, ...] = ()) -> Report:
    """Start the same scheduler with more and more tasks that each have a worker."""
    rows, had = [], 0
    async with lab(options.work) as place:
        (holder,) = await aside(place.workers, 1)
        for size in sizes(options, only):
            await aside(lambda more: place.tasks(more, holder=holder), size - had)
            had = size
            starts = []
            for _ in range(options.samples(_RUNS)):
                with scheduler(place) as running:
                    starts.append((running.ready, running.cpu, running.resident))
            found = [median(part) for part in zip(*starts, strict=True)]
            rows += _rows(Sized(size=size, of="tasks"), found)
    notes = (
        "From the start of the process to its first answer over HTTP; each task has a deal, is"
        " open, and has one replicate.",
    )
    return Report(bench=NAME, rows=tuple(rows), notes=notes)


def _rows(at: Sized, found: list[float]) -> list[Row]:
    ready, cpu, resident = found
    against = "our promise for 10,000"
    return [
        at.row("exec to ready", ready, "s", reference=LIMIT, against=against),
        at.row("  processor time", cpu, "s"),
        at.row("  resident memory", resident, "MiB"),
    ]
