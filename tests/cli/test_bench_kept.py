"""`tally bench` keeps its figures, goes on where it stopped, and draws how they grow."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from tallystick.bench import others
from tallystick.bench.machine import BUSY, machine
from tallystick.bench.page import figures_page
from tallystick.bench.pictures import draw, pictures
from tallystick.bench.registry import all_benches
from tallystick.bench.report import Bench, Options, Report, Row, Sized, growths

ROWS = (
    *(Sized(size=n, of="workers").row("memory", 9.0 * n, "MiB") for n in (100, 10, 1000)),
    Row(what="alone", figure=2.0, unit="s", reference=4.0, against="our promise"),
    Row(what="elsewhere", figure=None, unit="s", against="not here: no such program"),
)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two benches that measure nothing; which of them ran, in order."""
    names: list[str] = []

    def bench(name: str) -> Bench:
        async def run(options: Options) -> Report:
            assert list(options.work.iterdir()) == []
            names.append(name)
            return Report(bench=name, rows=ROWS, notes=("nothing was measured",))

        return Bench(name=name, summary="nothing", run=run)

    known = {name: bench(name) for name in ("one", "two")}
    monkeypatch.setattr("tallystick.bench.machine._LOOK", 0.01)
    monkeypatch.setattr(
        "tallystick.cli.bench.chosen_benches",
        lambda wanted: tuple(known[name] for name in tuple(wanted) or known),
    )
    return names


def test_figures_are_kept_with_the_machine_and_without_its_name(
    tally: Any, ran: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "figures.json"
    answer = tally("bench", "--quick", "--json", "--keep", file)
    assert answer.code == 0, answer.err
    kept = json.loads(file.read_text())
    assert json.loads(answer.out) == kept
    assert [each["bench"] for each in kept["benches"]] == ran == ["one", "two"]
    assert kept["machine"] == machine()
    assert all(kept["machine"].values())
    assert socket.gethostname() not in json.dumps(list(kept["machine"].values()))
    for bench in kept["benches"]:
        assert bench["quick"]
        assert 0 <= bench["others_busy_percent"] <= 100
        assert [row["ratio"] for row in bench["rows"]] == [None, None, None, 0.5, None]


def test_a_run_that_was_stopped_goes_on(tally: Any, ran: list[str], tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    assert tally("bench", "one", "--keep", file).code == 0
    assert tally("bench", "--resume", "--keep", file).code == 0
    assert ran == ["one", "two"], "what is kept is not measured again"
    assert tally("bench", "two", "--keep", file).code == 0
    assert ran == ["one", "two", "two"], "what is named is"
    assert len(json.loads(file.read_text())["benches"]) == 2


def test_figures_of_another_machine_are_not_mixed_in(
    tally: Any, ran: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "figures.json"
    assert tally("bench", "--keep", file).code == 0
    file.write_text(file.read_text().replace('"cores": ', '"cores": 9'))
    refused = tally("bench", "--resume", "--keep", file)
    assert refused.code == 1
    assert "another machine" in refused.err
    assert tally("bench", "--keep", file).code == 0, "all anew is no mixture"


def test_what_is_printed_has_ratios_growth_and_what_is_not_here(
    tally: Any, ran: list[str]
) -> None:
    told = tally("bench", "one")
    told = told.out + told.err
    assert "0.50" in told
    assert "not here: no such program" in told
    assert "memory, by workers: 1e+02 times as much for 100 times as many" in told


def test_growth_is_told_from_the_smallest_to_the_largest() -> None:
    (growth,) = growths(ROWS)
    assert growth.points == ((10, 90.0), (100, 900.0), (1000, 9000.0))
    nothing = [Sized(size=n, of="workers").row("late", 5.0 * (n > 1), "ms") for n in (1, 2)]
    assert str(growths(nothing)[0]) == "late, by workers: from 0 to 5 ms for 2 times as many"


def kept(busy: float = 0.0) -> dict[str, Any]:
    bench = Report(bench="one", rows=ROWS, notes=("a note",)).as_json()
    when = {"date": "2026-01-31", "seconds": 1.0, "others_busy_percent": busy, "quick": False}
    return {"version": "1", "machine": machine(), "benches": [bench | when]}


def test_pictures_are_drawn_of_what_has_several_sizes(tmp_path: Path) -> None:
    (picture,) = draw(kept(), tmp_path)
    assert picture.name == "figures-one-mib.svg"
    told = picture.read_text()
    assert told.count("<polyline") == 1
    assert "memory, by workers" in told
    assert "1,000" in told


def test_a_page_marks_what_was_disturbed_and_what_is_not_here() -> None:
    page = "\n".join(figures_page(kept(busy=BUSY + 1), "../pictures"))
    assert "**Disturbed: other programs took 11 %" in page
    assert "Disturbed" not in "\n".join(figures_page(kept(), "../pictures"))
    assert "| elsewhere | not here |  |  | not here: no such program |" in page
    assert "| alone | 2 s | 4 s | 0.50 | our promise |" in page
    assert "../pictures/figures-one-mib.svg" in page


def test_the_pictures_of_the_documentation_are_those_of_the_kept_figures() -> None:
    docs = Path(__file__).resolve().parents[2] / "docs"
    figures = json.loads((docs / "figures.json").read_text())
    drawn = pictures(figures)
    there = {path.name: path.read_text() for path in docs.glob("pictures/figures-*.svg")}
    assert there == drawn, "run .venv/bin/python docs/generate.py"
    assert {bench["bench"] for bench in figures["benches"]} == {b.name for b in all_benches()}


def test_systems_that_are_not_installed_are_missed_with_a_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(others.NotHere, match="not here: Slurm is not installed"),
        others.srun(tmp_path / "s"),
    ):
        pass
    with pytest.raises(others.NotHere, match="BOINC client is not installed"):
        others.boinc_idle(tmp_path / "b", 1.0)
    with others.docker():
        """nothing happens where there is none"""
