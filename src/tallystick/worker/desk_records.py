"""What can be told of a worker from its folder alone, as its desk would tell it."""

from __future__ import annotations

import dataclasses
from typing import Any

from tallystick.worker.records import Records
from tallystick.worker.why import Cause, remedy, upshot

__all__ = ["still", "upshot", "why"]


def why(records: Records, task: str) -> dict[str, Any]:
    """Why a worker that does not run earns nothing, or what a task came to."""
    if task:
        told = records.history(task)
        return told | {"upshot": upshot(told)}
    cause = Cause("stops", "NOT_RUNNING", "The worker does not run.", remedy("NOT_RUNNING"))
    return {"state": "not running", "causes": [dataclasses.asdict(cause)]}


def still(records: Records) -> dict[str, Any]:
    """What a worker that does not run has left to do."""
    rows = [row for row in records.rows() if not row["over"]]
    return {"wallet": str(records.me) if records.me else None, "unfinished": rows}
