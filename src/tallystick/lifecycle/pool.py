"""Who gets which task. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from tallystick.lifecycle.agenda import wants_worker
from tallystick.lifecycle.fitness import (
    COMPUTING,
    Applicant,
    NoWork,
    needs_of,
    suits,
    unable,
)
from tallystick.lifecycle.margins import too_late
from tallystick.lifecycle.replicate import Replicate
from tallystick.lifecycle.task import Task
from tallystick.poco.values import Address, Instant

__all__ = ("COMPUTING", "NoWork", "busy_slots", "fits", "replicates_of", "task_for")


def fits(applicant: Applicant, task: Task, now: Instant) -> bool:
    """Whether `task` wants one more replicate and `applicant` may be the one."""
    return (
        applicant.wallet not in task.replicates
        and not too_late(task.deal, now)
        and unable(applicant, needs_of(task.deal)) is None
        and wants_worker(task, now)
        and suits(applicant, task)
    )


def task_for(worker: Address, tasks: Iterable[Task], now: Instant) -> Task | None:
    """The most urgent of `tasks` for a worker of which nothing else is known."""
    applicant = Applicant(wallet=worker)
    fitting = (task for task in tasks if fits(applicant, task, now))
    return min(fitting, key=lambda task: task.deal.contribution_deadline, default=None)


def replicates_of(worker: Address, tasks: Iterable[Task]) -> Iterable[Replicate]:
    """What `worker` holds among `tasks`."""
    return (task.replicates[worker] for task in tasks if worker in task.replicates)


def busy_slots(worker: Address, tasks: Iterable[Task]) -> int:
    """How many of its slots `worker` uses."""
    return sum(r.status in COMPUTING for r in replicates_of(worker, tasks))
