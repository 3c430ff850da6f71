"""How a scheduler ends: at once when told to stop, or when what it began is finished."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import anyio

from tallystick.engine.pulse import Pulse
from tallystick.lifecycle.task import Task

log = logging.getLogger(__name__)


class Course(StrEnum):
    """What the scheduler is about to do."""

    WORKING = "working"
    DRAINING = "draining"
    """Nothing is on offer, no task is begun; the scheduler ends when those begun are over."""
    CLOSING = "closing"
    """Nothing is on offer; it ends when every task that was bought is over."""
    LEAVING = "leaving"
    """One of several ends, and the others go on with what it began."""


@dataclass(slots=True)
class Helm:
    """Keeps the course; it does not outlive a restart."""

    changes: Pulse
    """Beats when the course changes, and when a fact is recorded."""
    course: Course = Course.WORKING

    @property
    def ending(self) -> bool:
        """Whether the scheduler works towards its end."""
        return self.course is not Course.WORKING

    def begins(self, task: Task) -> bool:
        """Whether a worker may be given `task`: while draining only one that others have."""
        return self.course is not Course.DRAINING or bool(task.replicates)

    def steer(self, course: Course) -> None:
        """Take this course from now on."""
        if course is not self.course:
            log.info("The pool is %s.", course)
            self.course = course
            self.changes.beat()

    def waited_for(self, tasks: Iterable[Task]) -> Iterator[Task]:
        """What has to end before the scheduler does, on this course."""
        if self.course is Course.LEAVING:
            return iter(())
        return (task for task in tasks if not task.status.over and self.begins(task))

    async def until_the_end(self, tasks: Iterable[Task]) -> None:
        """Return when all that is waited for is over. `tasks` is read again whenever something
        changed."""
        while True:
            seen = self.changes.count
            if self.ending and not any(self.waited_for(tasks)):
                return
            await self.changes.next(seen)


async def first_of(*waits: Callable[[], Awaitable[None]]) -> None:
    """Return as soon as one of `waits` has."""
    async with anyio.create_task_group() as tasks:

        async def wait(one: Callable[[], Awaitable[None]]) -> None:
            await one()
            tasks.cancel_scope.cancel()

        for each in waits:
            tasks.start_soon(wait, each)
