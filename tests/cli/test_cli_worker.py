"""Which worker a command means, and what it says when that worker does not run."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from tallystick.cli import worker_earnings
from tallystick.cli import worker_words as words
from tallystick.cli.failure import Mistake
from tallystick.cli.main import run
from tallystick.cli.worker_place import place
from tallystick.engine.journal import Journal
from tallystick.lifecycle.facts import (
    Assigned,
    Began,
    Fact,
    Failed,
    Initialized,
    Ordered,
    Step,
)
from tallystick.poco.deal import Deal
from tallystick.poco.values import Address, DealId
from tallystick.worker.earnings import Sum

ME = Address(b"\x01" * 20)
DEAL = Deal(DealId(b"\x0d" * 32), start=0, time_unit=60, trust=1)
TASK = str(DEAL.task_id(0))

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Say:
    def typed(*line: str) -> tuple[int, str, str]:
        code = run(["worker", *line, "--base-dir", str(tmp_path)])
        return code, *capsys.readouterr()

    return typed


def a_worker(base: Path, name: str, *facts: Fact) -> Path:
    home = base / name
    home.mkdir(parents=True)
    journal = Journal[Fact](home / "journal.db", get_args(Fact))
    for fact in facts:
        journal.append(TASK, fact, at=time.time())
    journal.note(f"last lines {TASK}", "Traceback: \x1b[31mno cheese")
    journal.close()
    return home


FAILED = (
    Ordered(DEAL, 0),
    Initialized(),
    Assigned(ME, 2),
    Began(ME, Step.START),
    Failed(ME, Step.START, "STAKE_TOO_LOW"),
)


def test_the_only_worker_is_meant_and_several_have_to_be_named(tmp_path: Path):
    with pytest.raises(Mistake, match="No worker has ever run"):
        place(None, None, tmp_path)
    (tmp_path / "images").mkdir()
    home = a_worker(tmp_path, "one")
    assert place(None, None, tmp_path).home == home
    a_worker(tmp_path, "two")
    with pytest.raises(Mistake, match=r"several workers .* --name\. They: one, two"):
        place(None, None, tmp_path)
    assert place(None, "two", tmp_path).home == tmp_path / "two"
    (tmp_path / "three").mkdir()  # as a check of its settings does
    with pytest.raises(Mistake, match=r"No worker 'three' .* There: one, two"):
        place(None, "three", tmp_path)


def test_a_settings_file_and_the_environment_name_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    one, two = a_worker(tmp_path, "one"), a_worker(tmp_path, "two")
    config = tmp_path / "w.toml"
    config.write_text(f'name = "one"\nbase_dir = "{tmp_path}"\n')
    assert place(config, None, None).home == one
    assert place(config, "two", None).home == two
    monkeypatch.setenv("IEXEC_WORKER_NAME", "two")
    assert place(config, None, None).home == two
    with pytest.raises(Mistake, match="no configuration file"):
        place(tmp_path / "none.toml", None, None)


@pytest.mark.parametrize("order", ["pause", "resume", "stop"])
def test_orders_need_a_running_worker(say: Say, tmp_path: Path, order: str):
    a_worker(tmp_path, "one")
    code, out, err = say(order)
    assert code == 1
    assert err.strip() == f"tally: No worker runs in {tmp_path / 'one'}."
    assert out == ""


def test_a_worker_that_does_not_run_is_read_from_disk(say: Say, tmp_path: Path):
    a_worker(tmp_path, "one", *FAILED)
    code, out, _ = say("status")
    assert code == 1
    assert "does not run; this is what its journal says" in out
    assert str(ME) in out
    code, out, _ = say("tasks")
    assert code == 0
    assert "START_FAILED" in out
    assert "STAKE_TOO_LOW" in out
    code, out, _ = say("tasks", TASK[:10])
    assert code == 0
    assert "It ended here with STAKE_TOO_LOW." in out
    assert "no cheese" in out
    assert "\x1b" not in out
    code, out, _ = say("why")
    assert (code, "The worker does not run." in out) == (0, True)
    code, out, _ = say("logs", TASK)
    assert (code, "no cheese" in out) == (0, True)
    code, out, _ = say("earnings")
    assert (code, "0 of 1 tasks are paid. Net: 0.00 RLC" in out) == (0, True)


@pytest.mark.parametrize("line", [("tasks",), ("why",), ("earnings",), ("tasks", TASK)])
def test_json_is_one_object_and_nothing_else(say: Say, tmp_path: Path, line: tuple[str, ...]):
    a_worker(tmp_path, "one", *FAILED)
    code, out, _ = say(*line, "--json")
    assert code == 0
    assert isinstance(json.loads(out), dict)


def test_status_in_json_tells_that_it_does_not_run(say: Say, tmp_path: Path):
    a_worker(tmp_path, "one", *FAILED)
    code, out, _ = say("status", "--json")
    told = json.loads(out)
    assert (code, told["state"], told["wallet"]) == (1, "not running", str(ME))


def test_a_wrong_task_is_one_sentence(say: Say, tmp_path: Path):
    a_worker(tmp_path, "one", *FAILED)
    code, _, err = say("tasks", "0x999999")
    assert code == 1
    assert err.startswith("tally: This worker has no task '0x999999'")


def test_logs_and_top_need_a_running_worker(say: Say, tmp_path: Path):
    a_worker(tmp_path, "one")
    for command in ("logs", "top"):
        code, _, err = say(command)
        assert (code, "No worker runs in" in err) == (1, True)


def days(*net: int) -> list[Sum]:
    return [
        Sum(day=f"2026-11-{n:02}", tasks=1, paid=1, reward=each, lost=0, gas=0, net=each)
        for n, each in enumerate(net, 1)
    ]


def test_earnings_are_drawn_with_their_days():
    pytest.importorskip("plotext")
    drawn = worker_earnings.drawn(days(10**9, 2 * 10**9, -(10**9)))
    for part in ("earned, in RLC", "11-01", "11-03", "so far"):
        assert part in drawn
    assert max(map(len, drawn.splitlines())) <= 80
    assert worker_earnings.drawn([]) == "Nothing to draw yet."


def test_without_plotext_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "plotext", None)
    with pytest.raises(Mistake, match=r"tallystick\[top\]"):
        worker_earnings.drawn(days(1))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3_700, "1 h 1 min"),
        (90_000, "1 d 1 h"),
        (-5, "0 s"),
    ],
)
def test_spans(seconds: float, text: str):
    assert words.span(seconds) == text


def test_completed_is_not_paid():
    row: dict[str, Any] = {
        "lost": 0,
        "settled": False,
        "reward": 0,
        "voted": True,
        "over": True,
    }
    assert words.earned(row) == "-"
    assert words.earned(row | {"over": False}) == "not yet"
    assert words.earned(row | {"settled": True, "reward": 990_000_000}) == "0.99 RLC"
    assert words.earned(row | {"settled": True, "lost": 30}) == "-0.00000003 RLC"


def test_a_transaction_that_waits_is_shown_with_its_age():
    waits = {"what": "reveal 0x01", "since": 940.0, "cap": 88 * 10**9, "capped": True}
    fields = list(words._pending_fields({"pending": [waits]}, 1_000.0))
    assert fields == [
        (
            "waits to be mined",
            f"reveal 0x01, signed {words.age(60)}, its cap of 88 gwei is too low now",
        )
    ]
