"""Whether a container that a killed worker left is the one that a job would start. Pure.

Only a daemon's containers outlive the worker: embedded runtimes hold a job by the worker's own
process (its mounts, its pipes, its pid namespace), so that nothing has to be cleaned up after a
crash, and what such a job had done is done again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from tallystick.execution.executor import Job

FINGERPRINT = "tallystick.fingerprint"
"""Label with what the job of a container is."""
_FROM_OUTSIDE = frozenset({137, 143, 255})
"""Exit codes of what the daemon or the machine ended, when memory was not the reason."""


def fingerprint(job: Job) -> str:
    """The same for two jobs exactly when a container of one may stand for the other.

    How long it may run, and how much is kept of what it says, is up to whoever waits for it.
    """
    facts = asdict(job)
    for name in ("name", "output_dir"):
        del facts[name]
    for name in ("time", "log"):
        del facts["limits"][name]
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Left:
    """A container of ours that is worth waiting for, or whose work is worth keeping."""

    id: str
    began: float
    """Seconds since 1970."""
    ended: float | None
    """None while it runs."""
    code: int
    """Its exit code, once it has ended."""


def worth_keeping(document: Mapping[str, Any], wanted: str) -> Left | None:
    """What Docker's inspection tells of a container, None when the job must begin anew.

    So it must for another job, for a container that never ran, and for one that did not end
    by itself, as when the daemon was stopped.
    """
    state = document["State"]
    labels = document["Config"].get("Labels") or {}
    if labels.get(FINGERPRINT) != wanted or state["Status"] not in ("running", "exited"):
        return None
    if state["Status"] == "running":
        return Left(str(document["Id"]), _seconds(state["StartedAt"]), None, 0)
    code = int(state["ExitCode"])
    if state.get("Error") or (code in _FROM_OUTSIDE and not state.get("OOMKilled")):
        return None
    began, ended = _seconds(state["StartedAt"]), _seconds(state["FinishedAt"])
    return Left(str(document["Id"]), began, ended, code)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
