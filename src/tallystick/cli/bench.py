"""`tally bench`: the figures of this machine beside their references."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import anyio
import typer

from tallystick.bench.registry import all_benches, chosen_benches
from tallystick.bench.report import Bench, Options, Report
from tallystick.cli.terminal import Json, Voice


def attach(program: typer.Typer) -> None:
    """Add `tally bench`."""
    program.command("bench")(bench)


def bench(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Which; all without a name.")
    ] = None,
    repeat: Annotated[
        int | None,
        typer.Option("--repeat", metavar="N", min=1, help="How many samples of each figure."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Only the smallest size, to see that it runs.")
    ] = False,
    names_only: Annotated[
        bool, typer.Option("--list", help="Only tell which there are.")
    ] = False,
    json: Json = False,
) -> None:
    """Measure, and compare with the reference figures."""
    voice = Voice(json=json)
    if names_only:
        _list(voice, all_benches())
        return
    reports = [
        _measure(each, repeat, voice, quick=quick) for each in chosen_benches(names or ())
    ]
    voice.answer({"benches": [report.as_json() for report in reports]})


def _list(voice: Voice, benches: Sequence[Bench]) -> None:
    if not voice.json:
        voice.table(("name", "measures"), [(each.name, each.summary) for each in benches])
    voice.answer({"benches": [{"name": b.name, "summary": b.summary} for b in benches]})


def _measure(each: Bench, repeat: int | None, voice: Voice, *, quick: bool) -> Report:
    voice.say(f"{each.name}: {each.summary}")
    with tempfile.TemporaryDirectory(prefix="tally-bench-") as folder:
        options = Options(work=Path(folder), repeat=repeat, quick=quick)
        report = anyio.run(each.run, options)
    _show(voice, report)
    return report


def _show(voice: Voice, report: Report) -> None:
    rows = [
        (
            row.what,
            f"{row.figure:.4g} {row.unit}",
            "" if row.reference is None else f"{row.reference:.4g} {row.unit}",
            "" if row.ratio is None else f"{row.ratio:.2f}",
            row.against,
        )
        for row in report.rows
    ]
    voice.table(("what", "here", "reference", "ratio", "reference is"), rows)
    for note in report.notes:
        voice.say(f"  {note}")
