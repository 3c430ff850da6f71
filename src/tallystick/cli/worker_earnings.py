"""`tally worker earnings`: what a worker earned, lost and paid, as a table, CSV or plot."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from itertools import accumulate
from typing import Annotated

import typer

from tallystick.cli import worker_words as words
from tallystick.cli.failure import Mistake
from tallystick.cli.terminal import Voice
from tallystick.cli.worker_place import Place, about_a_worker, absent
from tallystick.worker.earnings import Earned, Sum, as_csv, as_json, by_day, total
from tallystick.worker.records import Records

_WIDTH, _HEIGHT, _RLC = 76, 18, 10**9


def attach(group: typer.Typer) -> None:
    """Add `tally worker earnings`."""
    group.command("earnings")(earnings)


@about_a_worker
def earnings(
    *,
    by_task: Annotated[bool, typer.Option("--tasks", help="A line a task, not a day.")] = False,
    csv: Annotated[
        bool, typer.Option("--csv", help="One line a task, in nRLC and wei.")
    ] = False,
    plot: Annotated[bool, typer.Option("--plot", help="Draw it in the terminal.")] = False,
    where: Place,
    voice: Voice,
) -> None:
    """Tell what the chain paid to a worker, what stake it lost, and what gas it paid."""
    with Records(where.home) as records:
        earned, other = records.earnings()
    if csv:
        sys.stdout.write(as_csv(earned))
        return
    if voice.json:
        voice.answer(as_json(earned, other))
        return
    if where.ask_or_none("status") is None:
        absent(voice, where)
    if plot:
        voice.say(drawn(by_day(earned, other)))
    elif by_task:
        voice.table(("task", "status", "ended", "reward", "lost", "gas"), map(_task, earned))
    else:
        _days(voice, earned, other)
    _sum(voice, total(earned, other))


def drawn(days: Sequence[Sum]) -> str:
    """Earnings so far, and each day's, as a plot. Raises Mistake without plotext."""
    try:
        figure = import_module("plotext").figure
    except ImportError as absence:
        raise Mistake("Plots need an extra: pip install 'tallystick[top]'.") from absence
    if not days:
        return "Nothing to draw yet."
    each_day = [each.net / _RLC for each in days]
    so_far = [net / _RLC for net in accumulate(each.net for each in days)]
    figure.clear()
    figure.plot_size(_WIDTH, _HEIGHT)
    figure.title("earned, in RLC")
    figure.draw(figure.bar([each.day[5:] for each in days], each_day).label("a day"))
    places = list(range(1, len(days) + 1))
    figure.draw(figure.signal(places, so_far).lines().label("so far"))
    return str(figure.build().string(colorless=True))


def _days(voice: Voice, earned: Sequence[Earned], other: Mapping[str, int]) -> None:
    rows = [
        (
            each.day,
            each.tasks,
            each.paid,
            words.amount(each.reward),
            words.amount(each.lost),
            words.ether(each.gas),
        )
        for each in by_day(earned, other)
    ]
    voice.table(("day", "tasks", "paid", "reward", "stake lost", "gas"), rows)


def _task(each: Earned) -> tuple[str, ...]:
    reward = words.amount(each.reward) if each.paid else "-"
    lost = words.amount(each.lost) if each.lost else "-"
    ended = words.clock(each.at)
    return words.short(each.task), each.status, ended, reward, lost, words.ether(each.gas)


def _sum(voice: Voice, found: Sum) -> None:
    voice.say(
        f"{found.paid} of {found.tasks} tasks are paid. Net: {words.amount(found.net)}, and"
        f" {words.ether(-found.gas)} for gas."
    )
