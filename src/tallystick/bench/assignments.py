"""How many assignments a scheduler makes in a second, with the load beside it."""

from __future__ import annotations

from typing import Any

from tallystick.bench.pool_lab import (
    QUICK,
    SIZES,
    Running,
    aside,
    lab,
    measure,
    percentile,
    scheduler,
    stores,
)
from tallystick.bench.report import Options, Report, Row

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
    sizes = only or (QUICK if options.quick else SIZES)
    for store in stores():
        async with lab(options.work / store, store) as place:
            for size in sizes:
                wallets = await aside(place.workers, size)
                count = size if options.quick else max(size, _TASKS)
                await aside(place.tasks, count)
                with scheduler(place) as running:
                    job: dict[str, Any] = {
                        "kind": "assignments",
                        "tokens": place.tokens(wallets),
                    }
                    job |= {"count": count, "links": min(_LINKS, count)}
                    found = await measure(job, running)
                    rows += _rows(f"{size} workers, {store}", found, running)
    notes = (
        "One assignment is an HTTP request of a worker, its stake and gas read since the last"
        " block (1 s), a signed authorization, a commit with full sync, and the answer.",
        f"Workers ask in turn on {_LINKS} connections of one other process, until each task of"
        f" {_TASKS}, or one a worker if that is more, is given away; chain and database beside"
        " it.",
    )
    return Report(bench=NAME, rows=tuple(rows), notes=notes)


def _rows(of: str, found: dict[str, Any], running: Running) -> list[Row]:
    asked = len(found["times"])
    made = asked - found["troubles"]
    return [
        Row(
            what=f"assignments a second, {of}",
            figure=made / found["seconds"],
            unit="/s",
            reference=LEAST,
            against="our promise",
        ),
        Row(what=f"  refused, {of}", figure=found["troubles"], unit=""),
        Row(
            what=f"  processor time each, {of}",
            figure=1000 * found["cpu"] / max(1, made),
            unit="ms",
        ),
        Row(
            what=f"  answer, p99, {of}",
            figure=1000 * percentile(found["times"], 0.99),
            unit="ms",
        ),
        Row(what=f"  memory, {of}", figure=running.resident, unit="MiB"),
    ]
