"""Who gets which task. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from tallystick.lifecycle.agenda import wants_worker
from tallystick.lifecycle.replicate import Replicate, Status
from tallystick.lifecycle.task import Task
from tallystick.poco.values import Address, Instant

COMPUTING = (Status.ASSIGNED, Status.STARTED, Status.APP_FETCHED, Status.DATA_FETCHED)
"""While a replicate is in one of these it occupies a slot of its worker."""

_TEE = 1
"""The lowest bit of a tag: the deal wants a trusted enclave."""


class NoWork(StrEnum):
    """Why a worker that asked for work is given none."""

    NO_TASK = "NO_TASK"
    SLOTS_FULL = "SLOTS_FULL"
    NEEDS_ENCLAVE = "NEEDS_ENCLAVE"
    ALREADY_HAD = "ALREADY_HAD"
    ENOUGH_WORKERS = "ENOUGH_WORKERS"
    NOT_REGISTERED = "NOT_REGISTERED"
    ASKED_TOO_EARLY = "ASKED_TOO_EARLY"


def why_none(worker: Address, tasks: Iterable[Task], slots: int) -> NoWork:
    """Why none of the open `tasks` is for `worker`, which computes so many at a time."""
    known = list(tasks)
    served = [task for task in known if _served(task)]
    fresh = [task for task in served if worker not in task.replicates]
    if busy_slots(worker, known) >= slots:
        return NoWork.SLOTS_FULL
    if not known:
        return NoWork.NO_TASK
    if not served:
        return NoWork.NEEDS_ENCLAVE
    return NoWork.ENOUGH_WORKERS if fresh else NoWork.ALREADY_HAD


def task_for(worker: Address, tasks: Iterable[Task], now: Instant) -> Task | None:
    """The most urgent of `tasks` that wants a worker and that `worker` has not had yet."""
    fitting = (
        task
        for task in tasks
        if worker not in task.replicates and _served(task) and wants_worker(task, now)
    )
    return min(fitting, key=lambda task: task.deal.contribution_deadline, default=None)


def replicates_of(worker: Address, tasks: Iterable[Task]) -> Iterable[Replicate]:
    """What `worker` holds among `tasks`."""
    return (task.replicates[worker] for task in tasks if worker in task.replicates)


def busy_slots(worker: Address, tasks: Iterable[Task]) -> int:
    """How many of its slots `worker` uses."""
    return sum(r.status in COMPUTING for r in replicates_of(worker, tasks))


def _served(task: Task) -> bool:
    return not task.deal.tag[-1] & _TEE
