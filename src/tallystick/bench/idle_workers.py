"""What workers cost a scheduler that wait for work and tell that they live."""

from __future__ import annotations

import resource
from typing import Any

from tallystick.bench.pool_lab import Found, lab, loaded, percentile, sizes
from tallystick.bench.report import Options, Report, Row, Sized

NAME = "idle-workers"
SUMMARY = "memory, processor time and ping of a scheduler with workers that wait for work"

PING, MEMORY = 50.0, 1024.0
"""Milliseconds for 99 of 100 pings, and MiB: our promise with 10,000 workers."""
_EVERY, _QUICK_EVERY = 10.0, 1.0
"""Seconds between two pings of a worker."""
_LINKS = 100
_WINDOW, _QUICK_WINDOW = 30.0, 3.0
"""Seconds over which pings are timed: longer than a request is held open."""
_EACH = 0.003
"""Seconds between two workers that come."""
_SPARE = 1_000
"""Open files of a process beside those of workers."""


async def run(
    options: Options,
    only: tuple[int, ...] = (),
    window: float = 0.0,
    every: float = 0.0,
) -> Report:
    """So many workers that wait, and a ping of each of them `every` seconds."""
    window = window or (_QUICK_WINDOW if options.quick else _WINDOW)
    every = every or (_QUICK_EVERY if options.quick else _EVERY)
    rows = []
    async with lab(options.work) as place:
        for size in sizes(options, only):
            job: dict[str, Any] = {"kind": "idlers", "held": _held(size), "ping": every}
            job |= {"links": min(_LINKS, size), "window": window, "settle": _EACH * size}
            rows += _rows(Sized(size=size, of="workers"), await loaded(place, size, job))
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


def _rows(at: Sized, found: Found) -> list[Row]:
    against = "our promise at 10,000"
    ping, late = percentile(found.times, 0.99), percentile(found.late, 0.99)
    share = 100 * found.cpu / found.seconds
    return [
        at.row("ping, p99", ping, "ms", reference=PING, against=against),
        at.row("  memory", found.resident, "MiB", reference=MEMORY, against=against),
        at.row("  held open by each", _held(at.size), "requests"),
        at.row("  pings a second", len(found.times) / found.seconds, "/s"),
        at.row("  our own delay, p99", late, "ms"),
        at.row("  troubles", found.troubles, ""),
        at.row("  processor", share, "% of a core"),
    ]
