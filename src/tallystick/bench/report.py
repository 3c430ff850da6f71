"""What a benchmark is asked and what it answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to measure."""

    work: Path
    """An empty folder for whatever the benchmark needs; removed afterwards."""
    repeat: int | None = None
    """How many samples; None: the benchmark's own idea of enough."""
    quick: bool = False
    """Only to see that it runs: the smallest size, where there are several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured figure beside what it is compared with."""

    what: str
    figure: float
    unit: str
    reference: float | None = None
    """The same quantity elsewhere (another program, a limit we promised), in the same unit."""
    against: str = ""
    """What the reference is."""

    @property
    def ratio(self) -> float | None:
        """Figure by reference; None without a reference."""
        return self.figure / self.reference if self.reference else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All figures of one benchmark."""

    bench: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    """What a reader must know about the machine and the method."""

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "bench": self.bench,
            "rows": [_row(row) for row in self.rows],
            "notes": self.notes,
        }


def _row(row: Row) -> dict[str, Any]:
    return {
        "what": row.what,
        "figure": row.figure,
        "unit": row.unit,
        "reference": row.reference,
        "against": row.against,
        "ratio": row.ratio,
    }


Run: TypeAlias = Callable[[Options], Awaitable[Report]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A benchmark that can be run."""

    name: str
    summary: str
    run: Run
