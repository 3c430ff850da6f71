"""The life of a task as others read it: every name it had, and when. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, get_args

from tallystick.engine.journal import Entry
from tallystick.lifecycle import views
from tallystick.lifecycle.facts import ChainFact, Fact, IllegalFact, Ordered, PoolFact
from tallystick.lifecycle.history import Row, history
from tallystick.lifecycle.replicate import Replicate
from tallystick.lifecycle.stages import task_status
from tallystick.lifecycle.task import Task, advance
from tallystick.poco.values import Address

_AUTHORITIES = {kind: "chain" for kind in get_args(ChainFact)} | {
    kind: "scheduler" for kind in get_args(PoolFact)
}


@dataclass(slots=True)
class Story:
    """What happened to a task, in order."""

    task: Task | None = None
    statuses: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])
    """Each status with the instant it began, seconds since the epoch."""
    replicates: dict[Address, list[tuple[float, str, str | None]]] = field(
        default_factory=dict[Address, list[tuple[float, str, str | None]]]
    )
    """Of each replicate: instant, v9 status, cause."""
    rows: Mapping[Address, tuple[Row, ...]] = field(
        default_factory=dict[Address, tuple[Row, ...]]
    )
    """Of each replicate the same without a gap, in both vocabularies, and who said so."""


def tell(entries: Iterable[Entry[Fact]]) -> Story:
    """The story that the facts of one stream tell; births first, as `fold` has them."""
    story, entries = Story(), list(entries)
    for entry in sorted(entries, key=lambda entry: not isinstance(entry.fact, Ordered)):
        try:
            story.task = advance(story.task, entry.fact)
        except IllegalFact:
            continue
        _note(story.statuses, entry.at, task_status(story.task))
        for worker, replicate in story.task.replicates.items():
            told = story.replicates.setdefault(worker, [])
            if not told or told[-1][1] != views.modern(replicate):
                told.append((entry.at, views.modern(replicate), replicate.cause))
    story.rows = history(entries)
    return story


def statuses_of(story: Story, worker: Address) -> set[str]:
    """Every v9 status that the replicate of `worker` ever had."""
    return {name for _, name, _ in story.replicates.get(worker, [])}


def as_fact(entry: Entry[Fact]) -> dict[str, Any]:
    """One fact for a reader: who says so, about whom, in words."""
    fact = entry.fact
    worker = getattr(fact, "worker", None)
    return {
        "seq": entry.seq,
        "at": entry.at,
        "kind": type(fact).__name__,
        "by": _AUTHORITIES.get(type(fact), "worker"),
        "worker": str(worker) if worker else None,
        "block": entry.ref.block if entry.ref else None,
        "transaction": entry.ref.tx if entry.ref else None,
        "text": _text(fact),
    }


def as_replicate(replicate: Replicate) -> dict[str, Any]:
    """One replicate for a reader, in both vocabularies."""
    return {
        "worker": str(replicate.worker),
        "status": str(replicate.status),
        "modern": views.modern(replicate),
        "seed": views.seed(replicate),
        "doing": str(replicate.doing) if replicate.doing else None,
        "cause": replicate.cause,
        "exitCode": replicate.exit_code,
        "weight": replicate.weight,
        "vote": str(replicate.vote) if replicate.vote else None,
        "link": replicate.link,
    }


def as_update(row: Row, name: str) -> dict[str, Any]:
    """One v9 status of a replicate for a v9 reader, with what else is known of it."""
    details = {"cause": row.cause, "chainReceipt": _receipt(row)}
    return {
        "status": name,
        "modifier": "WORKER" if row.by == "worker" else "POOL_MANAGER",
        "date": iso(row.at),
        "cause": row.cause,
        "details": {key: value for key, value in details.items() if value} or None,
    }


def as_row(row: Row) -> dict[str, Any]:
    """One line of a replicate's history for a reader, in both vocabularies."""
    return {
        "at": row.at,
        "by": row.by,
        "fact": row.fact,
        "seed": list(row.seed),
        "modern": list(row.modern),
        "cause": row.cause,
        "block": row.block,
        "transaction": row.tx,
    }


def _receipt(row: Row) -> dict[str, Any] | None:
    return {"blockNumber": row.block, "txHash": row.tx} if row.block is not None else None


def iso(instant: float) -> str:
    """An instant as the v9 peers write it: ISO-8601, milliseconds, UTC."""
    return datetime.fromtimestamp(instant, UTC).isoformat(timespec="milliseconds")


def _note(statuses: list[tuple[float, str]], at: float, name: str) -> None:
    if not statuses or statuses[-1][1] != name:
        statuses.append((at, name))


def _text(fact: Fact) -> str:
    words = {
        name: value
        for name in ("step", "cause", "link", "exit_code", "weight")
        if (value := getattr(fact, name, None)) not in (None, "")
    }
    return ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in words.items())
