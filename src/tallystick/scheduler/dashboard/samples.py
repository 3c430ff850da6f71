"""How the pool was in the last hour: one look every few seconds. A restart forgets it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

EVERY: Final = 5.0
"""Seconds between two looks."""
_KEPT: Final = 720
"""Looks: an hour."""
_DRAWN: Final = 120
"""Points of a chart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look."""

    at: float
    """Seconds since the epoch."""
    alive: int = 0
    """Workers."""
    slots: int = 0
    """Of those alive."""
    busy: int = 0
    """Slots in use."""
    gas_price: int | None = None
    """wei that the network asks; None where gas is free, or the price is not known."""


@dataclass(slots=True)
class Ring:
    """The looks of the last hour."""

    _looks: deque[Sample] = field(default_factory=lambda: deque(maxlen=_KEPT))

    def add(self, sample: Sample) -> None:
        """The oldest one goes when there are too many."""
        self._looks.append(sample)

    @property
    def last(self) -> Sample | None:
        """The newest look."""
        return self._looks[-1] if self._looks else None

    def points(self, what: Callable[[Sample], float | None]) -> list[tuple[float, float]]:
        """A chart's points: of several looks that fall on one point, the newest counts."""
        step = max(1, -(-len(self._looks) // _DRAWN))
        chosen = list(self._looks)[::-1][::step][::-1]
        return [(s.at, float(value)) for s in chosen if (value := what(s)) is not None]
