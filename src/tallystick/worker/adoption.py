"""What a killed worker left running: gone on with where it is due, removed where it is not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tallystick.engine.pulse import Pulse
from tallystick.execution.executor import Executor
from tallystick.lifecycle.pool import COMPUTING
from tallystick.lifecycle.task import Task
from tallystick.poco.values import Address, TaskId

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Leftovers:
    """The jobs of one worker's earlier runs."""

    executor: Executor
    me: Address
    tasks: Callable[[], Iterable[Task]]
    worker: str
    """Its name, with which the names of its jobs begin."""
    _spared: dict[TaskId, str] = field(default_factory=dict[TaskId, str])

    async def sweep(self) -> None:
        """Remove all but the jobs of replicates that still have to be computed."""
        self._spared = {task.id: f"{self.worker}-{task.id}" for task in self._due()}
        await self.executor.sweep(f"{self.worker}-", tuple(self._spared.values()))

    async def watch(self, changes: Pulse) -> None:
        """Remove what was spared once nobody wants its outcome any more."""
        while self._spared:
            seen, due = changes.count, {task.id for task in self._due()}
            for task in self._spared.keys() - due:
                await self.executor.sweep(self._spared.pop(task))
            await changes.next(seen)

    def _due(self) -> list[Task]:
        return [
            task
            for task in self.tasks()
            if not task.status.over
            and self.me in task.replicates
            and task.replicates[self.me].status in COMPUTING
        ]
