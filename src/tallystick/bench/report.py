"""What a benchmark is asked and what it answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass
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

    def samples(self, enough: int, *, quick: int = 1) -> int:
        """How many to take, where `enough` are enough, and `quick` to see that it runs."""
        return self.repeat or (quick if self.quick else enough)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured figure beside what it is compared with."""

    what: str
    figure: float | None
    """None: it cannot be measured on this machine; `against` says why."""
    unit: str
    reference: float | None = None
    """The same quantity elsewhere (another program, a limit we promised), in the same unit."""
    against: str = ""
    """What the reference is."""
    series: str = ""
    """What it is a figure of, whatever its size; where there are several sizes."""
    size: int = 0
    """Of how many (workers, tasks); 0: the figure has no size."""

    @property
    def ratio(self) -> float | None:
        """Figure by reference; None without one of them."""
        if self.figure is None or not self.reference:
            return None
        return self.figure / self.reference


def promised(what: str, figure: float, unit: str, limit: float) -> Row:
    """A figure beside the limit that we promise for it."""
    return Row(what=what, figure=figure, unit=unit, reference=limit, against="our promise")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """Makes the rows of one size: `Sized(size=100, of="workers").row("memory", 9, "MiB")`."""

    size: int
    of: str
    """Of what there are so many, and where: `workers, SQLite`."""

    def row(
        self,
        what: str,
        figure: float,
        unit: str,
        *,
        reference: float | None = None,
        against: str = "",
    ) -> Row:
        """One figure at this size."""
        return Row(
            what=f"{what}, {self.size} {self.of}",
            figure=figure,
            unit=unit,
            reference=reference,
            against=against,
            series=f"{what.strip()}, by {self.of}",
            size=self.size,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """How a figure changes with its size."""

    series: str
    unit: str
    points: tuple[tuple[int, float], ...]
    """Sizes and figures, the smallest first: two at least."""

    def __str__(self) -> str:
        """Such as `push, p99, by waiting: 1.3 times as much for 100 times as many`."""
        (small, first), (large, last) = self.points[0], self.points[-1]
        times = f"{large / small:.4g} times as many"
        if not first:
            return f"{self.series}: from 0 to {last:.3g} {self.unit} for {times}"
        return f"{self.series}: {last / first:.2g} times as much for {times}"


def growths(rows: Iterable[Row]) -> tuple[Growth, ...]:
    """Every series of which there are several sizes, unless its figure never changes."""
    found: dict[tuple[str, str], dict[int, float]] = {}
    for row in rows:
        if row.size and row.figure is not None:
            found.setdefault((row.series, row.unit), {})[row.size] = row.figure
    return tuple(
        Growth(series=series, unit=unit, points=tuple(sorted(points.items())))
        for (series, unit), points in found.items()
        if len(points) > 1 and len(set(points.values())) > 1
    )


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
            "rows": [asdict(row) | {"ratio": row.ratio} for row in self.rows],
            "growth": [str(growth) for growth in growths(self.rows)],
            "notes": list(self.notes),
        }


def silent(sentence: str) -> None:
    """Takes in what a market says: it is not part of a report."""


Run: TypeAlias = Callable[[Options], Awaitable[Report]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A benchmark that can be run."""

    name: str
    summary: str
    run: Run
