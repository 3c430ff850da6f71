"""What workers cost a scheduler that wait for work and tell that they live."""

from __future__ import annotations

import resource
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

NAME = "idle-workers"
SUMMARY = "memory, processor time and ping of a scheduler with workers that wait for work"

PING, MEMORY = 50.0, 1024.0
"""Milliseconds for 99 of 100 pings, and MiB: our promise with 10,000 workers."""
_EVERY = 10.0
"""Seconds between two pings of a worker."""
_LINKS = 100
_WINDOW = 30.0
"""Seconds over which pings are timed: longer than a request is held open."""
_EACH = 0.003
"""Seconds between two workers that come."""
_SPARE = 1_000
"""Open files of a process beside those of workers."""


async def run(
    options: Options,
    only: tuple[int, ...] = (),
    window: float = _WINDOW,
    every: float = _EVERY,
) -> Report:
    """So many workers that wait, and a ping of each of them `every` seconds."""
    rows = []
    sizes = only or (QUICK if options.quick else SIZES)
    async with lab(options.work) as place:
        for size in sizes:
            tokens = place.tokens(await aside(place.workers, size))
            with scheduler(place) as running:
                job: dict[str, Any] = {"kind": "idlers", "tokens": tokens, "held": _held(size)}
                job |= {"links": min(_LINKS, size), "ping": every, "window": window}
                found = await measure(job | {"settle": _EACH * size}, running)
                rows += _rows(size, found, running)
    notes = (
        "Each worker holds a demand for work open, and a second request for news where this"
        " process may have so many files open (ulimit -n); both are renewed when they end.",
        f"Each pings every {every:g} s at a moment of its own; pings leave when they are due,"
        " whatever became of those before. Another process makes the load.",
    )
    return Report(bench=NAME, rows=tuple(rows), notes=notes)


def _held(size: int) -> int:
    """Requests that a worker holds open: of both, or of one where files are short."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 2 if most == resource.RLIM_INFINITY or 2 * size + _SPARE <= most else 1


def _rows(size: int, found: dict[str, Any], running: Running) -> list[Row]:
    seconds = found["seconds"]
    return [
        Row(
            what=f"ping, p99, {size} workers",
            figure=1000 * percentile(found["times"], 0.99),
            unit="ms",
            reference=PING,
            against="our promise at 10,000",
        ),
        Row(
            what=f"  memory, {size} workers",
            figure=running.resident,
            unit="MiB",
            reference=MEMORY,
            against="our promise at 10,000",
        ),
        Row(
            what=f"  held open by each, {size} workers",
            figure=_held(size),
            unit="requests",
        ),
        Row(
            what=f"  pings a second, {size} workers",
            figure=len(found["times"]) / seconds,
            unit="/s",
        ),
        Row(
            what=f"  our own delay, p99, {size} workers",
            figure=1000 * percentile(found["late"], 0.99),
            unit="ms",
        ),
        Row(what=f"  troubles, {size} workers", figure=found["troubles"], unit=""),
        Row(
            what=f"  processor, {size} workers",
            figure=100 * found["cpu"] / seconds,
            unit="% of a core",
        ),
    ]
