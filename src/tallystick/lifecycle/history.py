"""What a replicate lived through, without a gap, in both vocabularies. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, get_args

from tallystick.lifecycle import views
from tallystick.lifecycle.facts import ChainFact, Fact, Held, IllegalFact, Ordered, PoolFact
from tallystick.lifecycle.replicate import OVER, Replicate
from tallystick.lifecycle.task import Task, advance
from tallystick.lifecycle.vocabulary import Vocabulary, way
from tallystick.poco.values import Address

_WHO: Final = dict.fromkeys(get_args(ChainFact), "chain") | dict.fromkeys(
    get_args(PoolFact), "pool manager"
)


def authority(fact: Fact) -> str:
    """Who asserts it: `worker`, `pool manager` or `chain`."""
    return _WHO.get(type(fact), "worker")


class Seen(Protocol):
    """Where on the chain a fact was seen."""

    @property
    def block(self) -> int:
        """Its number."""
        ...

    @property
    def tx(self) -> str | None:
        """The transaction, where one is known."""
        ...


class Told(Protocol):
    """A fact as a journal keeps it."""

    @property
    def fact(self) -> Fact:
        """What happened."""
        ...

    @property
    def at(self) -> float:
        """When it was written down, in seconds of Unix time."""
        ...

    @property
    def ref(self) -> Seen | None:
        """Where on chain, if there."""
        ...


@dataclass(frozen=True, slots=True)
class Row:
    """One fact that gave a replicate a new name in at least one vocabulary."""

    at: float
    """Seconds since the epoch, by the clock of the machine that kept the fact."""
    by: str
    """Who says so: `worker`, `pool manager` or `chain`."""
    fact: str
    seed: tuple[str, ...]
    """The names that begin here, those that are only implied first."""
    modern: tuple[str, ...]
    cause: str | None = None
    block: int | None = None
    tx: str | None = None
    aside: bool = False
    """A state beside the walk: the step that it interrupts goes on afterwards."""
    reborn: bool = False
    """The chain proves what it had seemed too late for: the walk begins anew here."""


def history(entries: Iterable[Told]) -> Mapping[Address, tuple[Row, ...]]:
    """The rows of every replicate that the facts of one task tell of; births first, as `fold`
    has them. What cannot follow is left out, as there."""
    task: Task | None = None
    rows = dict[Address, list[Row]]()
    last = dict[Address, _Last]()
    for entry in sorted(entries, key=lambda entry: not isinstance(entry.fact, Ordered)):
        before = task
        try:
            task = advance(task, entry.fact)
        except IllegalFact:
            continue
        for worker, now in task.replicates.items():
            was = before.replicates.get(worker) if before else None
            if was is now:
                continue
            row, last[worker] = _row(entry, was, now, last.get(worker, _Last()))
            if row.seed or row.modern:
                rows.setdefault(worker, []).append(row)
    return {worker: tuple(told) for worker, told in rows.items()}


def names(rows: Iterable[Row], vocabulary: Vocabulary) -> Iterator[str]:
    """Every name in turn: a walk of the vocabulary's graph, until a row is `reborn`."""
    for row in rows:
        if not row.aside:
            yield from row.seed if vocabulary == "seed" else row.modern


@dataclass(frozen=True, slots=True)
class _Last:
    """The names that the walks have reached."""

    seed: str = ""
    modern: str = ""
    aside: bool = False


def _row(entry: Told, was: Replicate | None, now: Replicate, last: _Last) -> tuple[Row, _Last]:
    reborn = was is not None and was.status in OVER and now.status not in OVER
    aside = now.held is not None or (last.aside and views.seed(now) == last.seed)
    seed = views.seed_names(now)
    if not aside:
        seed = _onward("seed", last.seed, seed, reborn=reborn)
    modern = _onward("modern", last.modern, (views.modern(now),), reborn=reborn)
    row = Row(
        at=entry.at,
        by=authority(entry.fact),
        fact=type(entry.fact).__name__,
        seed=seed,
        modern=modern,
        cause=getattr(entry.fact, "cause", None) or _why(now),
        block=entry.ref.block if entry.ref else None,
        tx=entry.ref.tx if entry.ref else None,
        aside=aside,
        reborn=reborn,
    )
    after = _Last(
        seed[-1] if seed and not aside else last.seed,
        modern[-1] if modern else last.modern,
        isinstance(entry.fact, Held),
    )
    return row, after


def _why(now: Replicate) -> str | None:
    """The cause of an end that nobody told as a failure."""
    return now.cause if now.status in OVER or now.failed else None


def _onward(
    vocabulary: Vocabulary, last: str, coming: tuple[str, ...], *, reborn: bool
) -> tuple[str, ...]:
    """What lies between the last name and the coming ones, and those that are new."""
    told = list[str]()
    for name in coming:
        if name == last or (last == "RECOVERING" and name == "STARTING"):
            continue  # a worker that has come back starts: v9 knows only that it has
        between = () if reborn or not last else way(vocabulary, last, name)
        told += [*(between or ()), name]
        last = name
    return tuple(told)
