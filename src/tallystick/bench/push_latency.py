"""How soon a worker that waits has the work that comes up, by how many wait."""

from __future__ import annotations

from tallystick.bench.pool_lab import QUICK, SIZES, aside, lab, measure, percentile, scheduler
from tallystick.bench.report import Options, Report, Row

NAME = "push-latency"
SUMMARY = "milliseconds from a dropped replicate to the next worker that has it"

LIMIT = 50.0
"""Milliseconds that we promise for 99 of 100, with 1,000 workers that wait."""
_PUSHES = 200
_EACH = 0.003
"""Seconds that a worker needs to get in line, on a slow machine."""


async def run(options: Options, only: tuple[int, ...] = ()) -> Report:
    """One worker drops task after task; at the end of the run so many others still wait."""
    rows, pushes = [], options.repeat or _PUSHES
    sizes = only or (QUICK if options.quick else SIZES)
    async with lab(options.work) as place:
        for size in sizes:
            tokens = place.tokens(await aside(place.workers, size + pushes + 1))
            await aside(place.tasks, pushes)
            with scheduler(place) as running:
                before = running.cpu
                job = {"kind": "pushes", "tokens": tokens}
                settle = 1.0 + _EACH * len(tokens)
                found = await measure(job | {"count": pushes, "settle": settle}, running)
                for name, part in (("median", 0.5), ("p99", 0.99)):
                    rows.append(_row(size, name, 1000 * percentile(found["times"], part)))
                troubles = f"  troubles, {size} waiting"
                rows.append(Row(what=troubles, figure=found["troubles"], unit=""))
                each = 1000 * (running.cpu - before) / (pushes + len(tokens))
                what = f"  processor time a push or demand, {size} waiting"
                rows.append(Row(what=what, figure=each, unit="ms"))
    notes = (
        f"{pushes} pushes: a worker drops its replicate, and the next in line is called, its"
        " stake and gas are read, the assignment is signed and made durable, and it is told.",
        "Both ends are timed by the process that makes the load.",
    )
    return Report(bench=NAME, rows=tuple(rows), notes=notes)


def _row(size: int, name: str, figure: float) -> Row:
    return Row(
        what=f"push, {name}, {size} waiting",
        figure=figure,
        unit="ms",
        reference=LIMIT,
        against="our promise for p99 at 1,000",
    )
