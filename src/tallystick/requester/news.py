"""What there is to tell about a task while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from tallystick.poco.values import TaskId


@dataclass(frozen=True, slots=True)
class Happened:
    """One fact of a task's story."""

    seq: int
    at: float
    kind: str
    by: str
    """Its authority: chain, scheduler, or a worker."""
    worker: str | None
    text: str
    """Details; may be empty."""


@dataclass(frozen=True, slots=True)
class ReplicateView:
    """One worker's share, as the scheduler sees it."""

    worker: str
    status: str
    """In the v9 vocabulary."""
    doing: str | None
    cause: str | None
    link: str | None


@dataclass(frozen=True, slots=True)
class Story:
    """What happened since the last reading, and how things stand."""

    status: str
    next: int
    facts: tuple[Happened, ...]
    replicates: tuple[ReplicateView, ...]


class End(StrEnum):
    """How a task ended, by the chain."""

    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    OVERDUE = "OVERDUE"
    """The final deadline has passed, and nobody has claimed the money back yet."""


@dataclass(frozen=True, slots=True)
class OnChain:
    """The chain shows another status of the task."""

    task: TaskId
    status: str
    block: int


@dataclass(frozen=True, slots=True)
class Told:
    """The scheduler tells more of the story."""

    task: TaskId
    story: Story


@dataclass(frozen=True, slots=True)
class Silent:
    """The scheduler or the node does not answer; what is known comes from the other one."""

    task: TaskId
    why: str


News: TypeAlias = OnChain | Told | Silent
Tell: TypeAlias = Callable[[News], None]
