"""What the scheduler decided about each of its workers, for workers that ask from a cursor."""

from __future__ import annotations

import time
from bisect import bisect_right, insort
from collections import defaultdict
from typing import TYPE_CHECKING

from tallystick.engine.bells import Bells
from tallystick.engine.journal import Entry
from tallystick.lifecycle.audit import goes_on
from tallystick.lifecycle.facts import (
    Assigned,
    Audited,
    Authorized,
    Fact,
    UploadRequested,
)
from tallystick.lifecycle.task import Task
from tallystick.poco.values import Address
from tallystick.wire.news import PoolNews

if TYPE_CHECKING:
    from tallystick.scheduler.inside import Inside

_OWED = 10.0
"""Seconds after which whoever asks has heard of it."""


class News:
    """Decisions by worker, in the order of the journal."""

    def __init__(self, pool: Inside) -> None:
        self._pool = pool
        self._told: defaultdict[Address, list[Entry[Fact]]] = defaultdict(list)
        self.shared = False
        """Whether several processes tell of the same news. Their numbers then may come out of
        order, so each of them is told once by each process, wherever the cursor is."""
        self._owed: defaultdict[Address, dict[int, float]] = defaultdict(dict)
        self.bells = Bells[Address]()
        """Rung for a worker about which something is new."""

    def keep(self, entry: Entry[Fact]) -> None:
        """Keep a decision about a worker; other facts are passed over."""
        match entry.fact:
            case (
                Assigned(worker=worker)
                | UploadRequested(worker=worker)
                | Authorized(worker=worker)
                | Audited(worker=worker, agreed=False)
            ):
                insort(self._told[worker], entry, key=lambda entry: entry.seq)
                if self.shared:
                    self._owed[worker][entry.seq] = time.monotonic() + _OWED
                self.bells.ring(worker)
            case _:
                return

    def past(self, worker: Address, after: int) -> list[PoolNews]:
        """What was decided about `worker` past the cursor and still matters."""
        told = self._told.get(worker, [])
        fresh = told[bisect_right(told, after, key=lambda entry: entry.seq) :]
        if owed := self._owed.pop(worker, None):
            late = {seq for seq, until in owed.items() if until > time.monotonic()}
            fresh = [e for e in told if e.seq > after or e.seq in late]
        return [
            self._news_of(entry, task)
            for entry in fresh
            if (task := self._pool.engine.states.get(entry.stream)) is not None
            and not task.status.over
            and worker in task.replicates
        ]

    def _news_of(self, entry: Entry[Fact], task: Task) -> PoolNews:
        match entry.fact:
            case Assigned(worker=worker, weight=power, authorization=known):
                return PoolNews(
                    seq=entry.seq,
                    chain_task_id=task.id,
                    kind="Assigned",
                    weight=power,
                    authorization=self._pool.authorization(task, worker, known),
                    from_block=self._pool.birth_block(task),
                    alone=task.replicates[worker].alone,
                    digest_first=task.replicates[worker].digest_first,
                    goes_on=goes_on(task, worker),
                )
            case Authorized(worker=worker, authorization=signed):
                self._pool.engine.acted("authorize", entry.stream, entry.at)
                return PoolNews(
                    seq=entry.seq,
                    chain_task_id=task.id,
                    kind="Authorized",
                    authorization=self._pool.authorization(task, worker, signed),
                )
            case Audited():
                return PoolNews(seq=entry.seq, chain_task_id=task.id, kind="Refuted")
            case UploadRequested(deadline=deadline):
                self._pool.engine.acted("request upload", entry.stream, entry.at)
                return PoolNews(
                    seq=entry.seq,
                    chain_task_id=task.id,
                    kind="UploadRequested",
                    deadline=deadline,
                )
            case other:
                raise AssertionError(f"{other} is no news for a worker")
