"""How soon a worker that waits has the work that comes up, by how many wait."""

from __future__ import annotations

from typing import Any

from tallystick.bench.pool_lab import Found, aside, lab, loaded, percentile, sizes
from tallystick.bench.report import Options, Report, Row, Sized

NAME = "push-latency"
SUMMARY = "milliseconds from a dropped replicate to the next worker that has it"

LIMIT = 50.0
"""Milliseconds that we promise for 99 of 100, with 1,000 workers that wait."""
_PUSHES = 200
_EACH = 0.003
"""Seconds that a worker needs to get in line, on a slow machine."""


async def run(options: Options, only: tuple[int, ...] = ()) -> Report:
    """One worker drops task after task; at the end of the run so many others still wait."""
    rows, pushes = [], options.samples(_PUSHES, quick=20)
    for size in sizes(options, only):
        # On a pool of its own: tasks whose workers are gone would be given to who waits.
        async with lab(options.work / str(size)) as place:
            workers = size + pushes + 1
            await aside(place.tasks, pushes)
            job: dict[str, Any] = {"kind": "pushes", "count": pushes}
            found = await loaded(place, workers, job | {"settle": 1.0 + _EACH * workers})
            rows += _rows(Sized(size=size, of="waiting"), found, pushes + workers)
    notes = (
        f"{pushes} pushes: a worker drops its replicate, and the next in line is called, its"
        " stake and gas are read, the assignment is signed and made durable, and it is told.",
        "Both ends are timed by the process that makes the load.",
    )
    return Report(bench=NAME, rows=tuple(rows), notes=notes)


def _rows(at: Sized, found: Found, served: int) -> list[Row]:
    against = "our promise for p99 at 1,000"
    each = 1000 * found.whole_cpu / served
    return [
        at.row(
            "push, median", percentile(found.times, 0.5), "ms", reference=LIMIT, against=against
        ),
        at.row(
            "push, p99", percentile(found.times, 0.99), "ms", reference=LIMIT, against=against
        ),
        at.row("  troubles", found.troubles, ""),
        at.row("  processor time a push or demand", each, "ms"),
    ]
