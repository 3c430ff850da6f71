"""`tally sim`: parts of what there is to live through, and being stopped in the middle."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from tallystick.cli import sim
from tallystick.sim.voyage import Fate
from tallystick.sim.whole import crashes
from tallystick.sim.whole.crashes import Course, pairs


def tally(*words: str) -> Any:
    return CliRunner().invoke(sim.group, words)


def some(*args: Any, **options: Any) -> Iterator[Fate]:
    """Three worlds, and then somebody presses Ctrl-C."""
    yield from [Fate(seed, 3600, 1, 0) for seed in range(3)]
    raise KeyboardInterrupt


def test_kills_can_be_stopped_and_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crashes, "jobs", lambda name: list(range(100)))
    monkeypatch.setattr(sim, "voyage", some)
    told = tally("crashes", "--life", "trust 1", "--part", "2/4", "--skip", "5")
    assert told.exit_code == 130
    assert "--life 'trust 1' --skip 8." in told.output
    assert "killed 3 of 20 times" in told.output


def test_worlds_can_be_stopped_and_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sim, "voyage", some)
    told = tally("run", "--seed", "40", "--json")
    assert told.exit_code == 130
    assert "Go on with --seed 43." in told.output
    assert json.loads(told.stdout.splitlines()[-1])["worlds"] == 3


def test_many_worlds_say_how_far_they_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sim, "voyage", some)
    monkeypatch.setattr(sim, "_EVERY", 0)
    assert "2 worlds, 0 minutes left." in tally("run").output
    assert "1 worlds" not in tally("run", "--hours", "1").output.splitlines()[-1]


@pytest.mark.parametrize("part", ["0/4", "5/4", "1", "one/two"])
def test_a_part_that_there_is_not_is_refused(part: str) -> None:
    told = tally("crashes", "--part", part)
    assert told.exit_code == 2
    assert "is no part" in told.output


def test_a_part_of_the_kills_of_a_life_is_lived_through() -> None:
    told = tally("crashes", "--life", "trust 1", "--part", "3/40", "--processes", "1", "--json")
    answer = json.loads(told.stdout.splitlines()[-1])
    assert told.exit_code == 0
    assert 1 <= answer["kills"] == answer["of"] <= 10


def test_pairs_are_of_two_parties_or_of_two_lives() -> None:
    found = Course({"scheduler": 2, "worker 1": 1}, ())
    again = {("scheduler", 1, 1): 1, ("scheduler", 1, 2): 0, ("worker 1", 1, 1): 1}
    assert list(pairs(found, again)) == [
        (("scheduler", 1, 1), ("worker 1", 1, 1)),
        (("scheduler", 1, 2), ("worker 1", 1, 1)),
        (("scheduler", 1, 1), ("scheduler", 2, 1)),
        (("worker 1", 1, 1), ("worker 1", 2, 1)),
    ]
