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
)
from tallystick.bench.report import Options, Report, Row

NAME = "assignments"
SUMMARY = "assignments a second: request, stake check, signature, durable commit, answer"

LEAST = 500.0
"""What we promise, a second, on two cores."""
_LINKS = 50
_WORKERS = 200


async def run(options: Options, only: tuple[int, ...] = ()) -> Report:
    """Give away all of so many tasks to 200 workers on 50 connections."""
    rows = []
    sizes = only or (QUICK if options.quick else SIZES)
    async with lab(options.work) as place:
        wallets = await aside(place.workers, min(_WORKERS, *sizes))
        tokens = place.tokens(wallets)
        for size in sizes:
            await aside(place.tasks, size)
            with scheduler(place) as running:
                before = running.cpu
                job = {"kind": "assignments", "port": place.config.port, "tokens": tokens}
                found = await measure(job | {"count": size, "links": min(_LINKS, size)})
                rows += _rows(size, found, running.cpu - before, running)
    notes = (
        "One assignment is an HTTP request of a worker, its stake and gas read since the last"
        " block (1 s), a signed authorization, a commit with full sync, and the answer.",
        f"{_WORKERS} workers on {_LINKS} connections of one other process; chain beside it.",
    )
    return Report(bench=NAME, rows=tuple(rows), notes=notes)


def _rows(size: int, found: dict[str, Any], cpu: float, running: Running) -> list[Row]:
    made = size - found["troubles"]
    return [
        Row(
            what=f"assignments a second, {size} tasks",
            figure=made / found["seconds"],
            unit="/s",
            reference=LEAST,
            against="our promise",
        ),
        Row(what=f"  refused, {size} tasks", figure=found["troubles"], unit=""),
        Row(
            what=f"  processor time each, {size} tasks",
            figure=1000 * cpu / max(1, made),
            unit="ms",
        ),
        Row(
            what=f"  answer, p99, {size} tasks",
            figure=1000 * percentile(found["times"], 0.99),
            unit="ms",
        ),
        Row(what=f"  memory, {size} tasks", figure=running.resident, unit="MiB"),
    ]
