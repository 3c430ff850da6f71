"""How many there are of everything: counted when somebody asks, at most once a second."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from anyio.lowlevel import checkpoint

from tallystick.lifecycle.pool import COMPUTING
from tallystick.lifecycle.replicate import OVER, Status
from tallystick.lifecycle.stages import task_status
from tallystick.lifecycle.task import Task, TaskStatus
from tallystick.poco.values import Address

if TYPE_CHECKING:
    from tallystick.scheduler.pool import Pool

_STRIDE = 1_000
"""Tasks between two looks whether somebody else has something to do."""
_GOOD_FOR = 1.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Count:
    """What was found."""

    at: float
    tasks: Counter[str] = field(default_factory=Counter[str])
    """By status, in the words of the v9 peers."""
    replicates: Counter[Status] = field(default_factory=Counter[Status])
    """Those that are not over, of tasks that are not: who never heard of a task that has ended,
    or never came back, says nothing more of it."""
    busy: Counter[Address] = field(default_factory=Counter[Address])
    """Slots in use, by worker."""
    workers: int = 0
    alive: int = 0
    slots: int = 0
    """Of those alive."""
    slots_busy: int = 0

    def add(self, task: Task) -> None:
        """Count one task."""
        self.tasks[task_status(task)] += 1
        for replicate in task.replicates.values():
            if replicate.status not in OVER and not task.status.over:
                self.replicates[replicate.status] += 1
            if task.status is TaskStatus.ACTIVE and replicate.status in COMPUTING:
                self.busy[replicate.worker] += 1


@dataclass(slots=True)
class Census:
    """The figures of one pool."""

    pool: Pool
    lost_after: float
    """Seconds of silence after which a worker does not count as alive."""
    _last: Count | None = None

    async def take(self) -> Count:
        """The count of now, or of a moment ago. Workers are answered meanwhile."""
        if self._last is not None and time.monotonic() < self._last.at + _GOOD_FOR:
            return self._last
        count = Count(time.monotonic())
        for number, task in enumerate(list(self.pool.tasks())):
            count.add(task)
            if number % _STRIDE == 0:
                await checkpoint()
        self._last = self._with_workers(count)
        return self._last

    def _with_workers(self, count: Count) -> Count:
        alive = set(self.pool.roster.alive(self.lost_after))
        models = {worker: model for worker, model, _ in self.pool.roster}
        return Count(
            count.at,
            count.tasks,
            count.replicates,
            count.busy,
            workers=len(models),
            alive=len(alive),
            slots=sum(models[worker].slots for worker in alive if worker in models),
            slots_busy=sum(count.busy[worker] for worker in alive),
        )
