"""How tasks are shown: every fact a line in a pipe, a bar for each worker on a terminal."""

import io

import pytest
from rich.console import Console

from tallystick.cli.bars import Bars
from tallystick.cli.progress import LADDER, Lines, fraction
from tallystick.cli.terminal import Voice
from tallystick.poco.values import TaskId
from tallystick.requester.news import Happened, OnChain, ReplicateView, Silent, Story, Told

ANNA, HOSTILE = "0x" + "aa" * 20, "0x" + "bb" * 20
NAMES = {ANNA: "anna"}
TASK = TaskId(b"\1" * 32)


def story(*replicates: ReplicateView, facts: tuple[Happened, ...] = ()) -> Told:
    return Told(TASK, Story("RUNNING", 1, facts, replicates))


def replicate(worker: str, status: str, cause: str | None = None) -> ReplicateView:
    return ReplicateView(worker, status, None, cause, None)


def test_every_fact_is_one_line_with_its_authority(capsys):
    lines = Lines(Voice(json=False), NAMES)
    lines.tell(OnChain(TASK, "ACTIVE", 7))
    computed = Happened(1, 0.0, "AppFetched", "worker", ANNA, "exit code: 0")
    opened = Happened(2, 0.0, "Initialized", "chain", None, "")
    lines.tell(story(facts=(computed, opened)))
    lines.tell(Silent(TASK, "The scheduler does not answer."))
    told = [line.split("  ")[-1].strip() for line in capsys.readouterr().out.splitlines()]
    assert told == [
        "ACTIVE in block 7",
        "app fetched (exit code: 0)",
        "The scheduler does not answer.",
    ]


def shown(bars: Bars, out: io.StringIO) -> str:
    with bars:
        pass
    return out.getvalue()


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def bars(out) -> Bars:
    return Bars(NAMES, Console(file=out, width=100, force_terminal=True, color_system=None))


def test_each_replicate_has_a_bar_and_its_words(bars, out):
    bars.tell(OnChain(TASK, "ACTIVE", 7))
    failed = replicate(HOSTILE, "COMPUTE_FAILED", "APP\x1b[2J_FAILED")
    bars.tell(story(replicate(ANNA, "COMPUTING"), failed))
    text = shown(bars, out)
    assert "anna" in text
    assert "computing" in text
    assert "compute failed (APP[2J_FAILED)" in text
    assert "ACTIVE" in text
    assert "[bold]" not in text


def test_lines_between_the_bars_are_not_markup(bars, out):
    with bars:
        bars.tell(OnChain(TASK, "ACTIVE", 7))
        bars.say("[red]said[/]")
    assert "[red]said[/]" in out.getvalue()
    assert "[bold]" not in out.getvalue()


def test_a_crowd_is_counted(bars, out):
    for number in range(20):
        state = "COMPLETED" if number < 15 else "ACTIVE"
        bars.tell(OnChain(TaskId(bytes([number]) * 32), state, 7))
    text = shown(bars, out)
    assert "15 of 20 tasks have ended" in text
    assert "0x10101010" in text
    assert "0x01010101" not in text


def test_a_replicate_only_moves_forward():
    steps = [fraction(status) for status in LADDER]
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == (0.0, 1.0)
    assert fraction("COMPUTE_FAILED") == fraction("COMPUTING")
    assert fraction("NEVER_HEARD_OF") == 0.0
