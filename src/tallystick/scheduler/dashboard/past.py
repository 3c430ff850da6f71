"""When tasks began and ended: what throughput and time to result are made of."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Final

from tallystick.lifecycle.facts import Assigned, Claimed, Fact, Finalized, Initialized

if TYPE_CHECKING:
    from tallystick.engine.journal import Entry

_HOUR: Final = 3_600.0


@dataclass(frozen=True, slots=True)
class End:
    """How a task ended."""

    at: float
    """Seconds since the epoch."""
    took: float | None
    """Seconds since it was opened; None when that is not known."""
    completed: bool
    """Whether it was finalized; else it was claimed."""


@dataclass(slots=True)
class Past:
    """Of every task of a pool."""

    clock: Callable[[], float] = time.time
    _begun: dict[str, float] = field(default_factory=dict[str, float])
    _ends: dict[str, End] = field(default_factory=dict[str, End])
    """In the order of the ends."""
    _given: dict[tuple[str, str], float] = field(default_factory=dict[tuple[str, str], float])

    def overhear(self, history: Iterable[Entry[Fact]]) -> Iterator[Entry[Fact]]:
        """The same facts, each of which is noted on its way to somebody else."""
        for entry in history:
            self.heard(entry)
            yield entry

    def heard(self, entry: Entry[Fact]) -> None:
        """Note when a task began or ended."""
        match entry.fact:
            case Assigned(worker=worker):
                self._given[entry.stream, str(worker)] = entry.at
            case Initialized():
                self._begun[entry.stream] = entry.at
            case Finalized() | Claimed():
                began = self._begun.get(entry.stream)
                took = None if began is None else max(0.0, entry.at - began)
                self._ends.pop(entry.stream, None)  # a reorg may have it end again
                completed = isinstance(entry.fact, Finalized)
                self._ends[entry.stream] = End(entry.at, took, completed)
            case _:
                return

    def end(self, stream: str) -> End | None:
        """How a task ended; None when it has not."""
        return self._ends.get(stream)

    def began(self, stream: str) -> float | None:
        """When a task was opened."""
        return self._begun.get(stream)

    def given(self, stream: str, worker: str) -> float | None:
        """When a worker was given its replicate of a task."""
        return self._given.get((stream, worker))

    def lately(self, seconds: float = _HOUR) -> list[End]:
        """The ends of so many seconds, oldest first."""
        since, found = self.clock() - seconds, list[End]()
        for end in reversed(self._ends.values()):
            if end.at < since:
                break
            found.append(end)
        return found[::-1]


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a pool was of late."""

    last_minute: int = 0
    """Tasks that were completed."""
    last_hour: int = 0
    failed: int = 0
    """Tasks that were claimed in the last hour."""
    median: float | None = None
    """Seconds from opening to result; None when nothing was completed in the last hour."""
    ninth: float | None = None
    """Of ten tasks nine took no longer."""


def speed(ends: Sequence[End], now: float) -> Speed:
    """Of the tasks that ended in the last hour."""
    done = [end for end in ends if end.completed]
    took = sorted(end.took for end in done if end.took is not None)
    return Speed(
        last_minute=sum(end.at > now - 60 for end in done),
        last_hour=len(done),
        failed=len(ends) - len(done),
        median=median(took) if took else None,
        ninth=took[min(len(took) - 1, int(len(took) * 0.9))] if took else None,
    )


def by_minute(ends: Iterable[End], now: float, minutes: int = 60) -> list[tuple[float, int]]:
    """How many tasks were completed in each of the last minutes."""
    first = int(now // 60) - minutes + 1
    counts = [0] * minutes
    for end in ends:
        place = int(end.at // 60) - first
        if end.completed and 0 <= place < minutes:
            counts[place] += 1
    return [((first + place) * 60.0, count) for place, count in enumerate(counts)]


def times_by_minute(ends: Iterable[End], now: float) -> list[tuple[float, float]]:
    """The median time to result in each minute in which something was completed."""
    minutes: dict[int, list[float]] = {}
    for end in ends:
        if end.completed and end.took is not None and end.at > now - _HOUR:
            minutes.setdefault(int(end.at // 60), []).append(end.took)
    return [(minute * 60.0, median(took)) for minute, took in sorted(minutes.items())]
