"""Deals with how far they are, counted again only when one of their tasks has changed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tallystick.lifecycle.stages import task_status
from tallystick.lifecycle.task import Task
from tallystick.poco.deal import Deal
from tallystick.poco.values import DealId
from tallystick.scheduler.dashboard.place import Dashboard
from tallystick.scheduler.money import DealMoney, total
from tallystick.scheduler.money_book import MoneyBook


@dataclass(frozen=True, slots=True)
class Bag:
    """A deal and how far it is."""

    deal: Deal
    tasks: tuple[Task, ...]
    """Those that are known here, by their index."""
    statuses: tuple[tuple[str, int], ...]
    """How many tasks are in which status."""
    over: int
    """How many tasks have ended."""
    money: DealMoney


@dataclass(slots=True)
class Bags:
    """Every deal of a pool."""

    dashboard: Dashboard
    _known: dict[DealId, Bag] = field(default_factory=dict[DealId, Bag])
    _deals: dict[str, DealId] = field(default_factory=dict[str, DealId])
    """Of which deal a task is, where it was counted."""
    _book: MoneyBook | None = None

    def __post_init__(self) -> None:
        self.dashboard.pool.engine.watch(self._changed)

    def of(self, id: DealId) -> Bag:
        """The deal as it is now."""
        if self._book is not (book := self.dashboard.book) and book is not None:
            self._book = book
            book.watch(self._changed)
            self._known.clear()
        if id not in self._known:
            self._known[id] = self._counted(id)
        return self._known[id]

    def _counted(self, id: DealId) -> Bag:
        window, book = self.dashboard.window, self._book
        tasks = tuple(sorted(window.tasks_of(id), key=lambda task: task.index))
        self._deals.update((str(task.id), id) for task in tasks)
        settled = [book.of(str(task.id)) for task in tasks] if book else []
        return Bag(
            deal=window.bags[id].deal,
            tasks=tasks,
            statuses=tuple(sorted(Counter(task_status(task) for task in tasks).items())),
            over=sum(task.status.over for task in tasks),
            money=total(each for each in settled if each),
        )

    def _changed(self, stream: str) -> None:
        """A task, or what it moved, is another one now; it may be new to its deal."""
        task = self.dashboard.pool.engine.states.get(stream)
        for deal in (self._deals.get(stream), task.deal.id if task else None):
            if deal is not None:
                self._known.pop(deal, None)
