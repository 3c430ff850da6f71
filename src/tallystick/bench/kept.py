"""Figures in a file: written as soon as they are measured, so that a run can go on later."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from tallystick import __version__
from tallystick.bench.machine import machine
from tallystick.bench.report import Report
from tallystick.engine.errors import Refused


class OtherMachine(Refused):
    """The file has figures of another machine or version; the sentence says which file."""


@dataclass(slots=True)
class Kept:
    """All figures of one machine and version, by bench."""

    machine: dict[str, Any] = field(default_factory=machine)
    version: str = __version__
    benches: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])

    @classmethod
    def read(cls, file: Path) -> Self:
        """What a file has, of whatever machine."""
        told = json.loads(file.read_text())
        benches = {each["bench"]: each for each in told["benches"]}
        return cls(told["machine"], told["version"], benches)

    @classmethod
    def going_on(cls, file: Path) -> Self:
        """What a file has of this machine and version; nothing, when there is no file.

        Raises OtherMachine.
        """
        mine = cls()
        if not file.exists():
            return mine
        found = cls.read(file)
        if (found.machine, found.version) != (mine.machine, mine.version):
            raise OtherMachine(
                f"{file} has figures of another machine or version. Name another file, or"
                " measure everything anew: tally bench without a name and without --resume."
            )
        return found

    def add(self, report: Report, *, seconds: float, others: float, quick: bool) -> None:
        """Take in what was measured just now, in so many seconds, while others kept the
        machine so busy (percent)."""
        self.benches[report.bench] = report.as_json() | {
            "date": datetime.now(UTC).date().isoformat(),
            "seconds": round(seconds, 1),
            "others_busy_percent": others,
            "quick": quick,
        }

    def as_json(self) -> dict[str, Any]:
        """As it lies in the file."""
        return {
            "version": self.version,
            "machine": self.machine,
            "benches": [self.benches[name] for name in sorted(self.benches)],
        }

    def write(self, file: Path) -> None:
        """All of it, at once or not at all."""
        new = file.with_name(f".{file.name}.new")
        new.write_text(json.dumps(self.as_json(), indent=1) + "\n")
        os.replace(new, file)
