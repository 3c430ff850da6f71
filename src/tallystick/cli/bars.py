"""Tasks as live bars on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tallystick.cli.progress import called, fraction, on_chain, short
from tallystick.cli.terminal import clean
from tallystick.poco.values import TaskId
from tallystick.requester.news import News, OnChain, ReplicateView, Silent, Told

CROWD = 6
"""Tasks from which on those that have ended are only counted."""

_BAD = ("FAILED", "ABORTED", "LOST")


class Bars:
    """A bar for every replicate, redrawn in place."""

    def __init__(self, names: Mapping[str, str], console: Console | None = None) -> None:
        self._names = names
        self._chain: dict[TaskId, str] = {}
        self._replicates: dict[TaskId, tuple[ReplicateView, ...]] = {}
        self._trouble = ""
        self._live: Live = Live(
            console=console or Console(highlight=False),
            get_renderable=self._table,
            refresh_per_second=8,
        )

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def say(self, text: str) -> None:
        """A sentence above the bars."""
        self._live.console.print(clean(text), markup=False)

    def tell(self, news: News) -> None:
        """Move the bar of the replicate that the news is about."""
        match news:
            case OnChain(task=task, status=status):
                self._chain[task] = status
            case Told(task=task, story=story):
                self._replicates[task] = story.replicates
                self._trouble = ""
            case Silent(why=why):
                self._trouble = why

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, show_header=False)
        ended = [
            task for task, state in self._chain.items() if state in ("COMPLETED", "FAILED")
        ]
        if crowded := len(self._chain) > CROWD:
            table.add_row("", "", Text(f"{len(ended)} of {len(self._chain)} tasks have ended"))
        for task, state in self._chain.items():
            if not (crowded and task in ended):
                self._add_task(table, task, state)
        if self._trouble:
            table.add_row("", "", Text(clean(self._trouble), style="yellow"))
        return table

    def _add_task(self, table: Table, task: TaskId, state: str) -> None:
        colour = {"COMPLETED": "bold green", "FAILED": "bold red"}.get(state, "bold")
        table.add_row(
            Text(f"task {short(task)}", style="bold"), "", Text(on_chain(state), style=colour)
        )
        for replicate in self._replicates.get(task, ()):
            self._add(table, replicate, over=state == "COMPLETED")

    def _add(self, table: Table, replicate: ReplicateView, *, over: bool) -> None:
        """`over`: the task was paid, so whoever has proved its vote has nothing left to do."""
        bad = any(word in replicate.status for word in _BAD)
        words = clean(replicate.status.replace("_", " ").lower())
        cause = f" ({clean(replicate.cause)})" if replicate.cause else ""
        bar = ProgressBar(
            total=1.0,
            completed=1.0 if over and not bad else fraction(replicate.status),
            width=30,
            complete_style="red" if bad else "cyan",
            finished_style="green",
        )
        name = Text("  " + clean(called(replicate.worker, self._names)))
        table.add_row(name, bar, Text(words + cause, style="red" if bad else ""))
