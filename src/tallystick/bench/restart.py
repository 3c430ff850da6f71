"""How long a scheduler takes from its start to its first answer, by what it has to know."""

from __future__ import annotations

from statistics import median

from tallystick.bench.pool_lab import QUICK, SIZES, aside, lab, scheduler
from tallystick.bench.report import Options, Report, Row

NAME = "restart"
SUMMARY = "seconds until a scheduler answers again, by its unfinished tasks"

LIMIT = 5.0
"""Seconds that we promise with 10,000 unfinished tasks."""
_RUNS = 3


async def run(options: Options, only: tuple[int, ...] = ()) -> Report:
    """Start the same scheduler with more and more tasks that each have a worker."""
    rows, had = [], 0
    sizes = only or (QUICK if options.quick else SIZES)
    async with lab(options.work) as place:
        (holder,) = await aside(place.workers, 1)
        for size in sizes:
            await aside(lambda more: place.tasks(more, holder=holder), size - had)
            had = size
            starts = []
            for _ in range(options.repeat or _RUNS):
                with scheduler(place) as running:
                    starts.append((running.ready, running.cpu, running.resident))
            rows += _rows(size, [median(part) for part in zip(*starts, strict=True)])
    notes = (
        "From the start of the process to its first answer over HTTP; each task has a deal, is"
        " open, and has one replicate.",
    )
    return Report(bench=NAME, rows=tuple(rows), notes=notes)


def _rows(size: int, found: list[float]) -> list[Row]:
    ready, cpu, resident = found
    return [
        Row(
            what=f"exec to ready, {size} tasks",
            figure=ready,
            unit="s",
            reference=LIMIT,
            against="our promise for 10,000",
        ),
        Row(what=f"  processor time, {size} tasks", figure=cpu, unit="s"),
        Row(what=f"  resident memory, {size} tasks", figure=resident, unit="MiB"),
    ]
