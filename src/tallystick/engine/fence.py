"""Who may write: a process that was asleep past its lease must not find out by writing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol
from zlib import crc32

from tallystick.engine.errors import Unavailable

SHARDS: Final = 64
"""Parts of a pool's tasks; each one has one owner at a time."""

LEASE: Final = 6.0
"""Seconds for which what a process holds stays with it when it is not heard of."""


class Fenced(Unavailable):
    """This process does not own the task now: another one does, or will in a moment."""


@dataclass(frozen=True, slots=True)
class Fence:
    """The right to write, good while the database says the same in the row of the lease."""

    shard: int
    epoch: int
    holder: str


class Fences(Protocol):
    """The rights of this process. The database has the last word, in each statement."""

    def of(self, shard: int) -> Fence:
        """The right to the tasks of a shard. Raises Fenced."""

    def held(self) -> Iterable[Fence]:
        """Every right that this process believes to have."""

    def life(self) -> Fence:
        """The right to write what belongs to no task: to have been heard of lately. Its `shard`
        means nothing. Raises Fenced."""


def shard_of(stream: str) -> int:
    """The shard of a task, or of any other stream."""
    return crc32(stream.encode()) % SHARDS
