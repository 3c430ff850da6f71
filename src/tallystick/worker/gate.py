"""Why a worker does not ask for work, or does not take a task that it was offered."""

from __future__ import annotations

from typing import Protocol

from tallystick.lifecycle.task import Task
from tallystick.worker.reason import Reason

__all__ = ["Gate", "Judge", "Reason"]


class Gate(Protocol):
    """Something that may keep the worker from asking for work at all."""

    def closed(self) -> Reason | None:
        """Why no work may be asked for now; None when nothing speaks against it."""
        ...


class Judge(Protocol):
    """Something that may speak against one task, before any work is done for it."""

    async def objection(self, task: Task) -> Reason | None:
        """Why this worker does not want `task`; None when nothing speaks against it."""
        ...
