"""How much time our own programs added to a task."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from anyio import to_thread

from tallystick.devnet.market import Market
from tallystick.devnet.places import Places
from tallystick.poco.values import TaskId

CLASSIC = (
    "initialize",
    "assign",
    "contribute",
    "reveal",
    "request upload",
    "upload",
    "finalize",
)
AT_ONCE = ("initialize", "assign", "upload", "finish")
"""Where one vote decides, votes, proves and finalizes in one transaction."""
ACTS = (*CLASSIC, "finish")
"""What is counted: from the arrival of the fact that made it due to its leaving."""


async def own_overhead_ms(market: Market, task: TaskId) -> float | None:
    """Milliseconds between what became due and what was done about it, summed over `task`.

    Of several replicates each act counts once, with the median of their times. None when the
    journals of the market do not tell.
    """
    waits = await acts_ms(market.data, task)
    return round(sum(waits.values()), 1) if waits else None


async def acts_ms(data: Path, task: TaskId) -> dict[str, float]:
    """Milliseconds that each act of `ACTS` waited for us, by the journals below `data`."""
    return await to_thread.run_sync(_acts, Places(data), task)


async def job_seconds(data: Path, task: TaskId) -> float:
    """How long the app ran, its sandbox included, by the journal of the first worker that did.

    The scheduler may never hear of it: a report that the chain has overtaken is not placed.
    """
    return await to_thread.run_sync(_job, Places(data), task)


def _job(places: Places, task: TaskId) -> float:
    question = (
        "SELECT max(at) FILTER (WHERE kind = 'Began'), max(at) FILTER (WHERE kind = 'Computed')"
        " FROM facts WHERE stream = ? AND (kind = 'Computed'"
        " OR kind = 'Began' AND json_extract(body, '$.step') = 'compute')"
    )
    for journal in places.data("workers").glob("*/journal.db"):
        for began, computed in _ask(journal, question, task):
            if began and computed:
                return float(computed - began)
    return 0.0


def _acts(places: Places, task: TaskId) -> dict[str, float]:
    waits: dict[str, list[float]] = {}
    journals = [
        places.data("scheduler") / "journal.db",
        *places.data("workers").glob("*/journal.db"),
    ]
    for journal in journals:
        for what, seconds in _timings(journal, task):
            if (act := _act(what)) is not None:
                waits.setdefault(act, []).append(1000 * seconds)
    return {act: sorted(times)[len(times) // 2] for act, times in waits.items()}


def _timings(journal: Path, task: TaskId) -> Iterator[tuple[str, float]]:
    yield from _ask(journal, "SELECT what, sent - due FROM timings WHERE stream = ?", task)


def _ask(journal: Path, question: str, task: TaskId) -> Iterator[Any]:
    if not journal.exists():
        return
    with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as known:
        yield from known.execute(question, (str(task),))


def _act(what: str) -> str | None:
    name = what.removeprefix("tx ")
    return next((act for act in ACTS if name.startswith(act)), None)
