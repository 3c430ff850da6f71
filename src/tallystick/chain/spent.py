"""What a wallet paid for gas, as its book of transactions remembers it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tallystick.chain.entries import fee_of, gas_of
from tallystick.engine.read_only import look_into
from tallystick.poco.values import TaskId, Wei

_ABOUT_TASKS = ("contribute", "reveal", "claim")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fee:
    """The gas of one mined transaction."""

    what: str
    task: TaskId | None
    """None when it was no call for a task."""
    wei: Wei
    gas: int
    at: float
    """When it was seen mined; seconds since the epoch."""


def fees(book: Path) -> Iterator[Fee]:
    """Every fee in the book, oldest first, which may be in use. Raises NotThere."""
    db = look_into(book)
    try:
        rows = db.execute(
            "SELECT data, what, since, receipt FROM entry WHERE state = 'mined' ORDER BY id"
        ).fetchall()
    finally:
        db.close()
    for data, what, since, receipt in rows:
        yield _fee(data, what, since, json.loads(receipt or "{}"))


def _fee(data: bytes, what: str, since: float, receipt: Mapping[str, Any]) -> Fee:
    about = what.split(" ", 1)[0] in _ABOUT_TASKS and len(data) >= 36
    task = TaskId(data[4:36]) if about else None
    return Fee(what=what, task=task, wei=fee_of(receipt), gas=gas_of(receipt), at=since)
