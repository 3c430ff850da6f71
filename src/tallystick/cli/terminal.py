"""What a person or a program reads: lines, tables, or one JSON object."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, TextIO

import typer

Json = Annotated[bool, typer.Option("--json", help="Answer with one JSON object on stdout.")]
"""The option that every command has."""

_LINE_BREAKS = {ord("\n"): "\n", ord("\t"): "\t"}
_CONTROLS = {code: None for code in (*range(32), *range(127, 160))} | _LINE_BREAKS


def clean(text: str) -> str:
    """`text` without control characters: strangers' words must not steer a terminal."""
    return text.translate(_CONTROLS)


class Voice:
    """Where a command speaks: people read stdout, unless a program waits there for JSON."""

    def __init__(self, *, json: bool) -> None:
        self.json = json

    @property
    def people(self) -> TextIO:
        """Where sentences go: with `--json` the answer alone is on stdout."""
        return sys.stderr if self.json else sys.stdout

    @property
    def lively(self) -> bool:
        """Whether progress may be redrawn: somebody looks at a terminal."""
        return not self.json and sys.stdout.isatty()

    def say(self, text: str) -> None:
        """One line for people."""
        print(clean(text), file=self.people, flush=True)

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Aligned columns for people."""
        lines = [tuple(headings), *(tuple(clean(str(cell)) for cell in row) for row in rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            self.say("  ".join(cells).rstrip())

    def fields(self, values: Mapping[str, object]) -> None:
        """One value a line, with its name, for people."""
        width = max(map(len, values), default=0)
        for name, value in values.items():
            self.say(f"{name.ljust(width)}  {value}")

    def answer(self, value: Mapping[str, Any] | None = None) -> None:
        """The one JSON object of a `--json` command; nothing otherwise."""
        if self.json:
            print(json.dumps(value or {}, default=str), flush=True)
