"""Everything about one task, as its page shows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from tallystick.chain.receipts import Mined
from tallystick.engine.errors import Unavailable
from tallystick.engine.journal import Entry
from tallystick.lifecycle import facts as f
from tallystick.lifecycle import views
from tallystick.lifecycle.facts import Fact, Finalized
from tallystick.lifecycle.history import Row
from tallystick.lifecycle.meanings import MEANINGS, Meaning
from tallystick.lifecycle.replicate import OVER, Replicate
from tallystick.lifecycle.stages import task_status
from tallystick.lifecycle.task import Task
from tallystick.poco.values import TaskId
from tallystick.scheduler import story
from tallystick.scheduler.dashboard.causes import in_words
from tallystick.scheduler.dashboard.costs import Costs
from tallystick.scheduler.dashboard.named import names_of
from tallystick.scheduler.dashboard.outside import Explorer, Link, result
from tallystick.scheduler.dashboard.place import Dashboard, Missing
from tallystick.scheduler.dashboard.verdicts import Verdict, verdict
from tallystick.scheduler.dashboard.viewer import Viewer

_EVENTS: Final[Mapping[type[object], str]] = {
    f.Ordered: "orders matched",
    f.Initialized: "task initialized",
    f.Contributed: "contribution",
    f.ConsensusReached: "consensus",
    f.Revealed: "reveal",
    f.Reopened: "task reopened",
    f.Finalized: "task finalized",
    f.Claimed: "task claimed",
}
_BAD: Final = ("FAILED", "LOST", "ABORTED", "CANT_", "OUT_OF_GAS", "TIMEOUT")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a replicate's timeline."""

    at: float
    later: float | None
    """Seconds after the line before."""
    modern: str
    seed: str
    by: str
    meaning: str
    cause: str
    why: str
    """The cause in words."""
    block: int | None
    tx: str
    bad: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One replicate."""

    replicate: Replicate
    modern: str
    seed: str
    lines: tuple[Line, ...]
    verdict: Verdict
    over: bool


@dataclass(slots=True)
class Transaction:
    """One transaction that moved the task."""

    tx: str
    block: int
    at: float
    what: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """What the contracts noted in it, and about which worker."""
    mined: Mined | None = None


@dataclass(frozen=True, slots=True)
class TaskTeller:
    """Looks everything up."""

    dashboard: Dashboard
    costs: Costs
    explorer: Explorer

    async def tell(self, id: TaskId, viewer: Viewer) -> dict[str, Any]:
        """What the page shows to `viewer`. Raises Missing."""
        window = self.dashboard.window
        entries = list(window.journal.read(stream=str(id)))
        known = story.tell(entries)
        if (task := known.task) is None:
            raise Missing(f"No deal with this pool has the task {id}.")
        acts = await self._transactions(entries)
        replicates = [self._replicate(task, known, each) for each in task.replicates.values()]
        may_read = viewer.operator or viewer.wallet == str(task.deal.requester)
        book = self.dashboard.book
        return {
            "task": task,
            "status": task_status(task),
            "statuses": _lasting(known.statuses),
            "replicates": replicates,
            "names": names_of(self.dashboard.pool.roster, task.replicates),
            "acts": acts,
            "links": _links(task, entries),
            "money": book.of(str(id)) if book else None,
            "timings": self._timings(id),
            "meanings": _meanings(replicates),
            "explorer": self.explorer,
            "may_read": may_read,
            "logs": window.logs.of(id) if may_read else (),
        }

    async def _transactions(self, entries: Iterable[Entry[Fact]]) -> list[Transaction]:
        found = dict[str, Transaction]()
        for entry in entries:
            if entry.ref is None or not entry.ref.tx:
                continue
            act = found.setdefault(
                entry.ref.tx, Transaction(entry.ref.tx, entry.ref.block, entry.at)
            )
            worker = getattr(entry.fact, "worker", "")
            act.what.append((_EVENTS.get(type(entry.fact), ""), str(worker)))
        mined = await self.costs.of((act.tx, act.block) for act in found.values())
        for act in found.values():
            act.mined = mined.get(act.tx)
        return list(found.values())

    def _replicate(self, task: Task, known: story.Story, replicate: Replicate) -> Told:
        book = self.dashboard.book
        money = book.of(str(task.id)) if book else None
        return Told(
            replicate=replicate,
            modern=views.modern(replicate),
            seed=views.seed(replicate),
            lines=_lines(known.rows.get(replicate.worker, ())),
            verdict=verdict(task, replicate, money),
            over=replicate.status in OVER,
        )

    def _timings(self, id: TaskId) -> list[tuple[str, float, float]]:
        try:
            return self.dashboard.window.journal.timings(str(id))
        except Unavailable:
            return []


def _lines(rows: Iterable[Row]) -> tuple[Line, ...]:
    lines, before = list[Line](), None
    for row in rows:
        names = (*row.modern, *row.seed)
        told = MEANINGS.get(row.modern[-1] if row.modern else row.seed[-1])
        lines.append(
            Line(
                at=row.at,
                later=None if before is None else max(0.0, row.at - before),
                modern=" → ".join(row.modern),
                seed=" → ".join(row.seed),
                by=row.by,
                meaning=told.meaning if told else "",
                cause=row.cause or "",
                why=in_words(row.cause),
                block=row.block,
                tx=row.tx or "",
                bad=any(part in name for name in names for part in _BAD),
            )
        )
        before = row.at
    return tuple(lines)


def _lasting(statuses: list[tuple[float, str]]) -> list[tuple[str, float, float | None]]:
    """Each status with its beginning and how long it lasted; None while it lasts."""
    lasted = [(name, at, max(0.0, end - at)) for (at, name), (end, _) in pairwise(statuses)]
    return [*lasted, *((name, at, None) for at, name in statuses[-1:])]


def _links(task: Task, entries: Iterable[Entry[Fact]]) -> list[tuple[str, Link]]:
    """Where the result is: as a worker told, and as the chain has it."""
    told = [("as the worker told", task.link)] if task.link else []
    told += [
        ("on the chain", entry.fact.link)
        for entry in entries
        if isinstance(entry.fact, Finalized) and entry.fact.link
    ][-1:]
    where = dict[Link, str]()
    for who, link in told:
        where[result(link)] = who  # the chain's word, where both say the same
    return [(who, link) for link, who in where.items()]


def _meanings(replicates: Iterable[Told]) -> Mapping[str, Meaning]:
    """Every name on the page, explained."""
    names = {
        name
        for told in replicates
        for line in told.lines
        for part in (line.modern, line.seed)
        for name in part.split(" → ")
    }
    return {name: MEANINGS[name] for name in MEANINGS if name in names}
