"""`tally bench`: the figures of this machine beside their references."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer

from tallystick.bench.kept import Kept
from tallystick.bench.machine import BUSY, others_busy
from tallystick.bench.pictures import draw
from tallystick.bench.registry import all_benches, chosen_benches
from tallystick.bench.report import Bench, Options
from tallystick.cli.terminal import Json, Voice


def attach(program: typer.Typer) -> None:
    """Add `tally bench`."""
    program.command("bench")(bench)


Names = Annotated[
    list[str] | None, typer.Argument(metavar="NAME", help="Which; all without a name.")
]
Repeat = Annotated[
    int | None,
    typer.Option("--repeat", metavar="N", min=1, help="How many samples of each figure."),
]
Quick = Annotated[
    bool, typer.Option("--quick", help="Only the smallest size, to see that it runs.")
]
Keep = Annotated[
    Path | None,
    typer.Option("--keep", metavar="FILE", help="Keep the figures there, as JSON."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Skip what FILE has already.")]
Plot = Annotated[
    Path | None,
    typer.Option("--plot", metavar="FOLDER", help="Draw how figures grow, as SVG."),
]
NamesOnly = Annotated[bool, typer.Option("--list", help="Only tell which there are.")]


def bench(
    names: Names = None,
    *,
    repeat: Repeat = None,
    quick: Quick = False,
    keep: Keep = None,
    resume: Resume = False,
    plot: Plot = None,
    names_only: NamesOnly = False,
    json: Json = False,
) -> None:
    """Measure, and compare with the reference figures.

    With --keep each bench is written as soon as it is done, so that --resume goes on with a
    run that was stopped.
    """
    voice = Voice(json=json)
    if names_only:
        _list(voice, all_benches())
        return
    if resume and keep is None:
        raise typer.BadParameter("--resume needs --keep FILE")
    chosen = chosen_benches(names or ())
    kept = Kept.going_on(keep) if keep is not None and (names or resume) else Kept()
    voice.say(", ".join(f"{name} {value}" for name, value in kept.machine.items()))
    for each in chosen:
        if resume and each.name in kept.benches:
            continue
        _measure(each, kept, voice, repeat=repeat, quick=quick)
        if keep is not None:
            kept.write(keep)
    if plot is not None:
        drawn = ", ".join(path.name for path in draw(kept.as_json(), plot))
        voice.say(f"Drawn: {drawn or 'nothing, as only one size was measured'}.")
    voice.answer(kept.as_json())


def _list(voice: Voice, benches: Sequence[Bench]) -> None:
    if not voice.json:
        voice.table(("name", "measures"), [(each.name, each.summary) for each in benches])
    voice.answer({"benches": [{"name": b.name, "summary": b.summary} for b in benches]})


def _measure(each: Bench, kept: Kept, voice: Voice, *, repeat: int | None, quick: bool) -> None:
    voice.say(f"{each.name}: {each.summary}")
    others, began = others_busy(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tally-bench-") as folder:
        options = Options(work=Path(folder), repeat=repeat, quick=quick)
        report = anyio.run(each.run, options)
    took = time.monotonic() - began
    others = max(others, others_busy())
    kept.add(report, seconds=took, others=others, quick=quick)
    _show(voice, kept.benches[each.name])


def _show(voice: Voice, told: dict[str, Any]) -> None:
    rows = [
        (
            row["what"],
            "not here" if row["figure"] is None else f"{row['figure']:.4g} {row['unit']}",
            "" if row["reference"] is None else f"{row['reference']:.4g} {row['unit']}",
            "" if row["ratio"] is None else f"{row['ratio']:.2f}",
            row["against"],
        )
        for row in told["rows"]
    ]
    voice.table(("what", "here", "reference", "ratio", "reference is"), rows)
    for note in (*told["growth"], *told["notes"]):
        voice.say(f"  {note}")
    if (others := told["others_busy_percent"]) > BUSY:
        voice.say(f"  Disturbed: other programs took {others:g} % of the processors.")
    voice.say(f"  {told['seconds']:.0f} s")
