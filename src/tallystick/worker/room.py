"""Room on this machine's disks: without it no new work, and what is begun waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tallystick.engine.disk import out_of_room
from tallystick.engine.errors import NoRoom
from tallystick.lifecycle.facts import Step
from tallystick.poco.values import TaskId
from tallystick.worker.config import WorkerConfig
from tallystick.worker.machine import free_disk
from tallystick.worker.reason import Reason

LOOK = 3.0
"""Seconds for which the gate believes what it last saw."""
ANYWAY = 60.0
"""Seconds after which a step is tried again though there seems to be no more room: it may need
less than the settings want free, or another disk than those that are looked at."""


class Room:
    """A gate that is closed while a disk is too full; steps that fill disks do it in `used`."""

    def __init__(
        self,
        config: WorkerConfig,
        free: Callable[[Path], int] = free_disk,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config, self._free, self._clock = config, free, clock
        self._looked, self._short = -LOOK, False
        self._met: dict[tuple[TaskId, Step], tuple[float, tuple[int, ...]]] = {}
        """When a step last found a disk full, and what was free right after."""

    def closed(self) -> Reason | None:
        """Why no work may be asked for."""
        if self._clock() - self._looked >= LOOK:
            self._looked, self._short = self._clock(), min(self._room()) < self._config.room
        return Reason("DISK_FULL", self._sentence()) if self._short else None

    @contextmanager
    def used(self, task: TaskId, step: Step) -> Iterator[None]:
        """Raises NoRoom when the block finds a disk full; from then on without entering it,
        until there is more room."""
        met = self._met.get((task, step))
        if met is not None and not self._is_worth_a_try(*met):
            raise NoRoom(self._sentence())
        try:
            yield
        except (OSError, NoRoom) as trouble:
            if not out_of_room(trouble):
                raise
            self._met[task, step] = self._clock(), self._room()
            raise NoRoom(self._sentence()) from trouble
        self._met.pop((task, step), None)

    def _is_worth_a_try(self, then: float, had: tuple[int, ...]) -> bool:
        has = self._room()
        more = any(now > before for now, before in zip(has, had, strict=True))
        return (more and min(has) >= self._config.room) or self._clock() - then >= ANYWAY

    def _room(self) -> tuple[int, ...]:
        """Bytes that are free, by folder; none where the disk itself is gone."""
        return tuple(map(self._in, (self._config.home, self._config.images)))

    def _in(self, folder: Path) -> int:
        try:
            return self._free(folder)
        except OSError:
            return 0

    def _sentence(self) -> str:
        """Without what is free: that changes all the time, and would be news each time."""
        folders, mib = (self._config.home, self._config.images), self._config.room >> 20
        return (
            f"The disk of {' or of '.join(map(str, folders))} is full: a task may need"
            f" {mib:,} MiB (min_free_disk). Make room; work goes on by itself then."
        )
