"""How workers and scheduler hear of each other: messages that may be lost, never for good."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tallystick.engine.journal import Entry
from tallystick.lifecycle.agenda import may_finish
from tallystick.lifecycle.facts import Assigned, Fact
from tallystick.lifecycle.pool import busy_slots, task_for
from tallystick.lifecycle.replicate import OVER
from tallystick.lifecycle.task import TaskStatus
from tallystick.poco.contribution import weight
from tallystick.poco.values import Address, Instant, TaskId
from tallystick.sim.accounts import authorization
from tallystick.sim.audits import Terms
from tallystick.sim.parties import WORKER_FACTS, Scheduler, Worker
from tallystick.wire.dialect import from_update, to_update

SILENT_AFTER: Final = 60
"""A silent worker asks for work until then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """What decides about messages in this second."""

    now: Instant
    scores: dict[Address, int]
    lost: Callable[[], bool]
    """Whether the next message is lost."""
    terms: Terms
    """On which a worker gets a task."""


def exchange(worker: Worker, scheduler: Scheduler, weather: Weather) -> bool:
    """A worker pings, asks for work, reads its news and tells what it did. Whether it asked."""
    if not scheduler.up or weather.lost():
        return False
    if not worker.silent:
        scheduler.hear(worker, weather.now)
        _meet(worker, scheduler)
        _report(worker, scheduler, weather)
    asks = not worker.silent or weather.now < SILENT_AFTER
    if asks:
        _assign(worker, scheduler, weather)
    _read_news(worker, scheduler)
    return asks


def _assign(worker: Worker, scheduler: Scheduler, weather: Weather) -> None:
    """Answer a worker that asks for work."""
    me, terms = worker.address, weather.terms
    tasks = [
        task
        for task in scheduler.tasks
        if task.status is TaskStatus.ACTIVE and terms.suits(task, me)
    ]
    room = busy_slots(me, tasks) < worker.machine.slots
    if room and (task := task_for(me, tasks, weather.now)) is not None:
        power = weight(weather.scores.get(me, 0))
        alone = worker.machine.at_once and may_finish(task)
        scrutiny = terms.of(task, me)
        permission = None if scrutiny else authorization(me, task.id)
        given = Assigned(me, power, permission, alone=alone, scrutiny=scrutiny)
        scheduler.record(task.id, given)


def _meet(worker: Worker, scheduler: Scheduler) -> None:
    """After a restore the scheduler has forgotten: both cursors go back to what it knows."""
    if worker.knows_scheduler == scheduler.instance:
        return
    worker.knows_scheduler = scheduler.instance
    worker.news_from, worker.inbox = 0, []
    worker.outbox = [
        entry
        for entry in worker.memory.entries[: worker.read_to]
        if isinstance(entry.fact, WORKER_FACTS)
        and (worker.address, entry.seq) not in scheduler.accepted
    ]


def _read_news(worker: Worker, scheduler: Scheduler) -> None:
    for entry in scheduler.news_for(worker.address, worker.news_from):
        worker.inbox.append(entry)
    worker.news_from = len(scheduler.memory.entries)
    worker.inbox = [entry for entry in worker.inbox if not _learned(worker, entry)]


def _learned(worker: Worker, entry: Entry[Fact]) -> bool:
    """Whether the news was taken or has become pointless; else it is tried again."""
    task = worker.task(TaskId(entry.stream))
    if task is None:
        return False
    mine = worker.mine(task)
    if mine and (
        mine.status in OVER or (isinstance(entry.fact, Assigned) and mine.authorization)
    ):
        return True
    return worker.record(task.id, entry.fact) or task.status.over


def _report(worker: Worker, scheduler: Scheduler, weather: Weather) -> None:
    """Tell in order; what cannot follow yet is told again, until the replicate is over."""
    worker.outbox = [
        entry
        for entry in worker.untold()
        if weather.lost() or not _accepted(worker, scheduler, entry)
    ]


def _accepted(worker: Worker, scheduler: Scheduler, entry: Entry[Fact]) -> bool:
    """Whether the scheduler took the report, as the wire carries it, or never will."""
    task = scheduler.task(TaskId(entry.stream))
    if task is None:
        return False
    mine = worker.mine(task)
    assert isinstance(entry.fact, WORKER_FACTS)
    alone, first = bool(mine and mine.alone), bool(mine and mine.digest_first)
    told = to_update(entry.fact, alone=alone, digest_first=first)
    if told is None or scheduler.accept(
        worker.address, entry, from_update(worker.address, told)
    ):
        return True
    return task.status.over and (mine is None or mine.status in OVER)
