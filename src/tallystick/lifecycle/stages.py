"""Tasks in the words of the world; their replicates are in `views`."""

from __future__ import annotations

from tallystick.lifecycle.replicate import Status
from tallystick.lifecycle.task import Task, TaskStatus


def task_status(task: Task) -> str:
    """The status of a task as schedulers of versions 3 to 9 name it."""
    match task.status:
        case TaskStatus.UNSET:
            return "RECEIVED"
        case TaskStatus.ACTIVE:
            begun = any(r.status is not Status.ASSIGNED for r in task.replicates.values())
            return "RUNNING" if begun else "INITIALIZED"
        case TaskStatus.REVEALING:
            return _revealing(task)
        case TaskStatus.COMPLETED:
            return "COMPLETED"
        case TaskStatus.FAILED:
            return "FAILED"


def _revealing(task: Task) -> str:
    if task.link:
        return "RESULT_UPLOADED"
    if any(r.status is Status.UPLOAD_REQUESTED for r in task.winners):
        return "RESULT_UPLOADING"
    if any(r.revealed for r in task.winners):
        return "AT_LEAST_ONE_REVEALED"
    return "CONSENSUS_REACHED"
