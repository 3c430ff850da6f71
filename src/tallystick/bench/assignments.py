"""How many assignments a scheduler makes in a second, with the load beside it."""

from __future__ import annotations

from typing import Any

from tallystick.bench.pool_lab import Found, aside, lab, loaded, percentile, sizes, stores
from tallystick.bench.report import Options, Report, Row, Sized

NAME = "assignments"
SUMMARY = "assignments a second: request, stake check, signature, durable commit, answer"

LEAST = 500.0
"""What we promise, a second, on two cores."""
_LINKS = 50
_TASKS = 3_000
"""At least so many are given away: fewer would be over before anything is even."""


async def run(options: Options, only: tuple[int, ...] = ()) -> Report:
    """Give away at least one task to each of so many workers, on 50 connections."""
    rows = []
    for store in stores():
        async with lab(options.work / store, store) as place:
            for size in sizes(options, only):
                count = size if options.quick else max(size, _TASKS)
                await aside(place.tasks, count)
                job: dict[str, Any] = {"kind": "assignments", "count": count}
                found = await loaded(place, size, job | {"links": min(_LINKS, count)})
                rows += _rows(Sized(size=size, of=f"workers, {store}"), found)
    notes = (
        "One assignment is an HTTP request of a worker, its stake and gas read since the last"
        " block (1 s), a signed authorization, a commit with full sync, and the answer.",
        f"Workers ask in turn on {_LINKS} connections of one other process, until each task of"
        f" {_TASKS}, or one a worker if that is more, is given away; chain and database beside"
        " it.",
    )
    return Report(bench=NAME, rows=tuple(rows), notes=notes)


def _rows(at: Sized, found: Found) -> list[Row]:
    made = len(found.times) - found.troubles
    rate, each = made / found.seconds, 1000 * found.cpu / max(1, made)
    return [
        at.row("assignments a second", rate, "/s", reference=LEAST, against="our promise"),
        at.row("  refused", found.troubles, ""),
        at.row("  processor time each", each, "ms"),
        at.row("  answer, p99", percentile(found.times, 0.99), "ms"),
        at.row("  memory", found.resident, "MiB"),
    ]
