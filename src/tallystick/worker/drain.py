"""How a worker pauses, and how it ends: at once, or when all that it began is finished."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import anyio

from tallystick.engine.journal import Journal
from tallystick.engine.pulse import Pulse
from tallystick.lifecycle.replicate import BEFORE_VOTE, OVER, Replicate
from tallystick.lifecycle.task import Task
from tallystick.poco.values import Address, Instant
from tallystick.worker.reason import Reason

log = logging.getLogger(__name__)

_PAUSED = "paused"


class Course(StrEnum):
    """What the worker is about to do."""

    WORKING = "working"
    PAUSED = "paused"
    """It asks for no work, and goes on with what it has. Outlives a restart."""
    DRAINING = "draining"
    """It asks for no work, finishes what it has, and ends then."""
    STOPPING = "stopping"
    """It hands back what it did not vote on, and ends."""


_REASONS = {
    Course.PAUSED: Reason("PAUSED", "The worker is paused: `tally worker resume` ends that."),
    Course.DRAINING: Reason(
        "DRAINING", "The worker finishes what it has begun, and stops then."
    ),
    Course.STOPPING: Reason("STOPPING", "The worker is about to stop."),
}


class Helm:
    """Keeps the course; a gate for new work. The last order counts, but an end stays one."""

    def __init__(self, journal: Journal[Any], changes: Pulse) -> None:
        """`changes` beats when the course changes, and when a fact is recorded."""
        self._journal, self.changes = journal, changes
        paused = journal.noted(_PAUSED) == "yes"
        self.course = Course.PAUSED if paused else Course.WORKING

    def closed(self) -> Reason | None:
        """Why no work may be asked for."""
        return _REASONS.get(self.course)

    async def objection(self, task: Task) -> Reason | None:
        """Why a task that arrives now is not taken up."""
        return self.closed() if self.course is Course.STOPPING else None

    @property
    def ending(self) -> bool:
        """Whether the worker will end."""
        return self.course in (Course.DRAINING, Course.STOPPING)

    def pause(self) -> None:
        """Ask for no more work, until told to resume."""
        self._journal.note(_PAUSED, "yes")
        if not self.ending:
            self._steer(Course.PAUSED)

    def resume(self) -> None:
        """Ask for work again; takes a drain back, but not a stop."""
        self._journal.note(_PAUSED, "no")
        if self.course is not Course.STOPPING:
            self._steer(Course.WORKING)

    def drain(self) -> None:
        """Finish what was begun, and end then."""
        if self.course is not Course.STOPPING:
            self._steer(Course.DRAINING)

    def stop(self) -> None:
        """End now."""
        self._steer(Course.STOPPING)

    async def obey_signals(self) -> None:
        """SIGTERM and SIGINT stop, a second one ends at once; SIGUSR1 drains."""
        wanted = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
        with anyio.open_signal_receiver(*wanted) as signals:
            async for number in signals:
                if number == signal.SIGUSR1:
                    self.drain()
                elif self.course is Course.STOPPING:
                    log.warning("Stopped at once: the next start takes away what is left.")
                    os._exit(128 + number)
                else:
                    self.stop()

    async def until_the_end(self, tasks: Iterable[Task], me: Address) -> None:
        """Return when the worker has to end: told to stop, or drained. `tasks` is read again
        whenever something changed."""
        while True:
            seen, held = self.changes.count, list(unfinished(tasks, me))
            if self.course is Course.STOPPING or (self.course is Course.DRAINING and not held):
                return
            await self.changes.next(seen)

    def _steer(self, course: Course) -> None:
        if course is not self.course:
            log.info("The worker is %s.", course)
            self.course = course
            self.changes.beat()


def unfinished(tasks: Iterable[Task], me: Address) -> Iterator[Task]:
    """Tasks that this worker still holds a replicate of."""
    for task in tasks:
        mine = task.replicates.get(me)
        if mine is not None and mine.status not in OVER:
            yield task


def to_hand_back(tasks: Iterable[Task], me: Address) -> Iterator[Task]:
    """Tasks that another worker can do as well, since this one has not voted on them."""
    for task in unfinished(tasks, me):
        if task.replicates[me].status in BEFORE_VOTE and not task.status.over:
            yield task


def owed(task: Task, mine: Replicate) -> str:
    """What this worker owes a task while it is away, in one sentence."""
    if task.status.over or mine.revealed:
        return f"{task.id}: all is proved; the result is kept until {_time(_last(task))}."
    if task.reveal_deadline is None:
        return f"{task.id}: our vote may have to be revealed until {_time(_last(task))}."
    if mine.vote not in (None, task.consensus):
        return f"{task.id}: another result won; nothing is owed."
    return f"{task.id}: reveal owed until {_time(task.reveal_deadline)}: start again before."


def _last(task: Task) -> Instant:
    return task.deal.final_deadline


def _time(instant: Instant) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
