"""Kept figures as a page for people, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tallystick.bench.machine import BUSY
from tallystick.bench.pictures import pictures

_UNITS = {"memory_mib": "memory, MiB"}


def figures_page(kept: Mapping[str, Any], folder: str) -> Iterator[str]:
    """Lines about everything in `kept`; its pictures lie in `folder`, seen from the page."""
    yield "# Figures"
    yield ""
    yield (
        "What `tally bench` measured, on one machine and in one run, beside what it is compared"
        " with: another program on the same machine, the specification, or our own promise."
        " A ratio is the figure by the reference. `tally bench --keep FILE --plot FOLDER`"
        " measures all of it again; `--resume` goes on with a run that was stopped."
    )
    yield ""
    yield f"Tallystick {kept['version']}, on this machine:"
    yield ""
    yield "| | |"
    yield "|---|---|"
    for name, value in kept["machine"].items():
        yield f"| {_UNITS.get(name, name)} | {value} |"
    yield ""
    yield (
        "Of systems that cannot be run on this machine no figure is shown. Budgets that do not"
        " depend on a machine (gas, bytes, statements, questions to a node, modules) are in"
        " `tests/budgets/budgets.toml`, and tests hold them."
    )
    drawn = list(pictures(kept))
    for bench in kept["benches"]:
        yield ""
        yield from _bench(bench)
        for name in drawn:
            if name.startswith(f"figures-{bench['bench']}-"):
                yield ""
                yield f"![How {bench['bench']} grows]({folder}/{name})"


def _bench(bench: Mapping[str, Any]) -> Iterator[str]:
    yield f"## {bench['bench']}"
    yield ""
    yield f"{_when(bench)} {' '.join(_sentence(note) for note in bench['notes'])}"
    yield ""
    yield "| What | Here | Reference | Ratio | Reference is |"
    yield "|---|--:|--:|--:|---|"
    for row in bench["rows"]:
        yield _row(row)
    if bench["growth"]:
        yield ""
        yield "How it grows:"
        yield ""
        for line in bench["growth"]:
            yield f"- {line}"


def _when(bench: Mapping[str, Any]) -> str:
    told = f"Measured on {bench['date']}, in {bench['seconds']:.0f} s."
    if bench["quick"]:
        told += " **Only the smallest size.**"
    if (others := bench["others_busy_percent"]) > BUSY:
        told += (
            f" **Disturbed: other programs took {others:.0f} % of the processors, so times here"
            " are longer than they are on a quiet machine.**"
        )
    return told


def _sentence(note: str) -> str:
    told = f"{note[:1].upper()}{note[1:]}".replace("|", "\\|")
    return told if told.endswith(".") else f"{told}."


def _row(row: Mapping[str, Any]) -> str:
    what = row["what"]
    name = f"&ensp;{what.strip()}" if what.startswith(" ") else what
    figure = "not here" if row["figure"] is None else _figure(row["figure"], row["unit"])
    reference = "" if row["reference"] is None else _figure(row["reference"], row["unit"])
    ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
    return f"| {name} | {figure} | {reference} | {ratio} | {row['against']} |"


def _figure(value: float, unit: str) -> str:
    told = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{told} {unit}".strip()
