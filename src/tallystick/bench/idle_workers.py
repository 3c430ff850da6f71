"""What workers cost a scheduler that wait for work and tell that they live."""

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

NAME = "idle-workers"
SUMMARY = "memory, processor time and ping of a scheduler with workers that wait for work"

PING, MEMORY = 50.0, 1024.0
"""Milliseconds for 99 of 100 pings, and MiB: our promise with 10,000 workers."""
_EVERY = 10.0
"""Seconds between two pings of a worker."""
_LINKS = 100
_WINDOW = 20.0
"""Seconds over which pings are timed."""
_EACH = 0.002


async def run(options: Options, only: tuple[int, ...] = (), window: float = _WINDOW) -> Report:
    """So many demands held open, and a ping of each worker every ten seconds."""
    rows = []
    sizes = only or (QUICK if options.quick else SIZES)
    async with lab(options.work) as place:
        for size in sizes:
            tokens = place.tokens(await aside(place.workers, size))
            with scheduler(place) as running:
                job = {"kind": "idlers", "port": place.config.port, "tokens": tokens}
                how = {"links": min(_LINKS, size), "ping": _EVERY, "window": window}
                found = await measure(job | how | {"settle": 1.0 + _EACH * size})
                rows += _rows(size, found, running)
    notes = (
        f"Each worker holds a demand open and pings every {_EVERY:g} s, on {_LINKS} further"
        " connections that workers share; another process makes the load.",
        "Processor time includes that of the start and of getting everybody in line.",
    )
    return Report(bench=NAME, rows=tuple(rows), notes=notes)


def _rows(size: int, found: dict[str, Any], running: Running) -> list[Row]:
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
            what=f"  pings a second, {size} workers",
            figure=len(found["times"]) / found["seconds"],
            unit="/s",
        ),
        Row(what=f"  troubles, {size} workers", figure=found["troubles"], unit=""),
        Row(what=f"  processor time, {size} workers", figure=running.cpu, unit="s"),
    ]
