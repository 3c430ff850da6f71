"""A block as whoever follows the chain sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from tallystick.lifecycle.facts import ChainFact
from tallystick.poco.values import Instant, TaskId

Told: TypeAlias = tuple[TaskId, ChainFact]
"""What a log means, and for which task."""


@dataclass(frozen=True, slots=True)
class Block:
    """What was mined together."""

    number: int
    serial: int
    """Its hash: two blocks of one number differ in it."""
    time: Instant
    facts: tuple[Told, ...]
