"""Which open tasks want one more replicate, kept so that nobody has to look at all of them.

Tasks lie in bags, one a deal; bags lie by what they ask of a worker. Deals take turns, and a
worker is offered the deal that waits longest among those it can serve. `fitness` says which
these are; this only finds them. Pure: it changes, but by nothing else than what it is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from tallystick.lifecycle.agenda import wants_worker
from tallystick.lifecycle.fitness import (
    COMPUTING,
    Applicant,
    Needs,
    NoWork,
    meets_kin,
    needs_of,
    owed_stake,
    suits,
    unable,
)
from tallystick.lifecycle.margins import too_late
from tallystick.lifecycle.task import Task, TaskStatus
from tallystick.poco.deal import Deal
from tallystick.poco.values import Address, DealId, Instant, Nrlc, TaskId

_ANY_TIME = 0
"""For questions about what a task wants, whenever it could be had."""
_GLANCE = 50
"""Tasks of a deal that are looked at for a better one before the next best is taken."""


@dataclass(slots=True)
class _Bag:
    """Tasks of one deal that want a replicate: those that somebody began come first."""

    deal: Deal
    turn: int
    """When the deal was last served, by a count of turns."""
    begun: dict[TaskId, Task] = field(default_factory=dict[TaskId, Task])
    fresh: dict[TaskId, Task] = field(default_factory=dict[TaskId, Task])

    def put(self, task: Task) -> None:
        into, other = (self.begun, self.fresh) if task.replicates else (self.fresh, self.begun)
        other.pop(task.id, None)
        into[task.id] = task

    def take(self, task: TaskId) -> None:
        self.begun.pop(task, None)
        self.fresh.pop(task, None)

    def __iter__(self) -> Iterator[Task]:
        """Those begun, but after a glance at them those that nobody had: a worker that had
        many would look at all of these before."""
        yield from islice(self.begun.values(), _GLANCE)
        yield from self.fresh.values()
        yield from islice(self.begun.values(), _GLANCE, None)

    def __bool__(self) -> bool:
        return bool(self.begun or self.fresh)


@dataclass(slots=True)
class _Hold:
    """What a worker has of the tasks that are not over."""

    tasks: dict[TaskId, Task] = field(default_factory=dict[TaskId, Task])
    busy: set[TaskId] = field(default_factory=set[TaskId])
    """Of these, the ones that occupy a slot."""
    owed: dict[TaskId, Nrlc] = field(default_factory=dict[TaskId, Nrlc])
    """What it will lock for them."""


_Choice = tuple[bool, int, Task]
"""Whether it would meet another wallet of its owner there, whose turn it is, and the task."""

_TELLING = (
    NoWork.NEEDS_ENCLAVE,
    NoWork.NEEDS_GPU,
    NoWork.NEEDS_MEMORY,
    NoWork.OUT_OF_GAS,
    NoWork.STAKE_TOO_LOW,
)
"""What a worker lacks; the later, the easier it is to have."""


class Openings:
    """The tasks of a pool by what they still want."""

    def __init__(self) -> None:
        self._turns = 0
        self.begins_new = True
        """Whether tasks that nobody has begun want somebody; not while a pool ends."""
        self._live: dict[TaskId, Task] = {}
        self._wanting: dict[DealId, _Bag] = {}
        self._kinds: dict[Needs, dict[DealId, _Bag]] = {}
        """The bags by what they ask, those of each kind in the order of their turns."""
        self._active: dict[Needs, int] = {}
        """How many tasks of a kind may be contributed to, wanting somebody or not."""
        self._holds: dict[Address, _Hold] = {}

    def tell(self, id: TaskId, task: Task | None) -> tuple[Address, ...]:
        """The task is so now; None: there is none any more. Whom this freed a slot or stake."""
        before = self._live.pop(id, None)
        after = task if task is not None and not task.status.over else None
        if after is not None:
            self._live[id] = after
        self._count(before, -1)
        self._count(after, 1)
        self._place(before, after)
        workers = {*(before.replicates if before else ()), *(after.replicates if after else ())}
        return tuple(worker for worker in workers if self._hold(worker, id, after))

    def wants(self, id: TaskId) -> bool:
        """Whether the task wants one more replicate, if there is time."""
        task = self._live.get(id)
        bag = self._wanting.get(task.deal.id) if task else None
        return bag is not None and (id in bag.begun or id in bag.fresh)

    def task_for(self, applicant: Applicant, now: Instant) -> Task | None:
        """The next task for `applicant`, of the deal whose turn it is; None when there is none,
        or all its slots are used. When it is given away, `served` ends the turn."""
        if self.busy(applicant.wallet) >= applicant.slots:
            return None
        choices = [
            choice
            for needs, bags in list(self._kinds.items())
            if unable(applicant, needs) is None
            and (choice := self._choice(bags, applicant, now)) is not None
        ]
        found = min(choices, key=lambda choice: choice[:2], default=None)
        return found[2] if found else None

    def served(self, deal: DealId) -> None:
        """A task of `deal` was given away: it is the other deals' turn."""
        bag = self._wanting.get(deal)
        if bag is None:
            return
        bag.turn = self._next_turn()
        bags = self._kinds.get(needs_of(bag.deal), {})
        if deal in bags:
            bags[deal] = bags.pop(deal)

    def busy(self, worker: Address) -> int:
        """How many of its slots `worker` uses."""
        held = self._holds.get(worker)
        return len(held.busy) if held else 0

    def owed(self, worker: Address) -> Nrlc:
        """What `worker` will lock for the replicates it has, and has not yet."""
        held = self._holds.get(worker)
        return sum(held.owed.values()) if held else 0

    def held_by(self, worker: Address) -> list[Task]:
        """The tasks that are not over and of which `worker` has a replicate."""
        held = self._holds.get(worker)
        return list(held.tasks.values()) if held else []

    def live(self) -> list[Task]:
        """Every task that is not over."""
        return list(self._live.values())

    def why_none(self, applicant: Applicant, now: Instant) -> NoWork:
        """Why nothing is for `applicant` now."""
        if self.busy(applicant.wallet) >= applicant.slots:
            return NoWork.SLOTS_FULL
        if not self._active:
            return NoWork.NO_TASK
        reasons = {needs: unable(applicant, needs) for needs in self._active}
        able = {needs for needs, reason in reasons.items() if reason is None}
        if not able:
            return max(filter(None, reasons.values()), key=_TELLING.index)
        mine = [t for t in self.held_by(applicant.wallet) if t.status is TaskStatus.ACTIVE]
        had = sum(needs_of(task.deal) in able for task in mine)
        if had >= sum(self._active[needs] for needs in able):
            return NoWork.ALREADY_HAD
        late = [bag for bag in self._wanting.values() if needs_of(bag.deal) in able]
        if late and all(too_late(bag.deal, now) for bag in late):
            return NoWork.TOO_LATE
        return NoWork.ENOUGH_WORKERS

    def _choice(
        self, bags: dict[DealId, _Bag], applicant: Applicant, now: Instant
    ) -> _Choice | None:
        """The best of one kind. Bags that are late by now are taken out on the way."""
        late = []
        found: _Choice | None = None
        for deal, bag in bags.items():
            if too_late(bag.deal, now):
                late.append(deal)
            elif (found := _of_bag(bag, applicant, found)) and not found[0]:
                break
        for deal in late:
            del bags[deal]
        return found

    def _place(self, before: Task | None, after: Task | None) -> None:
        task = after or before
        if task is None:
            return
        deal, needs = task.deal.id, needs_of(task.deal)
        bag = self._wanting.get(deal)
        if bag is not None and bag.deal is not task.deal and bag.deal != task.deal:
            self._drop(deal, needs_of(bag.deal))
            bag.deal = task.deal
            self._wanting[deal] = self._kinds.setdefault(needs, {})[deal] = bag
        if after is not None and self._may_want(after) and wants_worker(after, _ANY_TIME):
            if bag is None:
                bag = self._wanting[deal] = _Bag(task.deal, self._next_turn())
                self._kinds.setdefault(needs, {})[deal] = bag
            bag.put(after)
        elif bag is not None:
            bag.take(task.id)
            if not bag:
                self._drop(deal, needs)

    def _may_want(self, task: Task) -> bool:
        return self.begins_new or bool(task.replicates)

    def _drop(self, deal: DealId, needs: Needs) -> None:
        del self._wanting[deal]
        bags = self._kinds.get(needs, {})
        bags.pop(deal, None)
        if not bags:
            self._kinds.pop(needs, None)

    def _count(self, task: Task | None, by: int) -> None:
        if task is None or task.status is not TaskStatus.ACTIVE:
            return
        needs = needs_of(task.deal)
        self._active[needs] = self._active.get(needs, 0) + by
        if not self._active[needs]:
            del self._active[needs]

    def _hold(self, worker: Address, id: TaskId, task: Task | None) -> bool:
        """Note what `worker` has of a task; whether that is less than before."""
        held = self._holds.setdefault(worker, _Hold())
        was_busy, owed = id in held.busy, held.owed.pop(id, 0)
        held.busy.discard(id)
        held.tasks.pop(id, None)
        mine = task.replicates.get(worker) if task else None
        if task is None or mine is None:
            if not held.tasks:
                del self._holds[worker]
            return was_busy or bool(owed)
        held.tasks[id] = task
        if task.status is TaskStatus.ACTIVE and mine.status in COMPUTING:
            held.busy.add(id)
        if now_owed := owed_stake(task, worker):
            held.owed[id] = now_owed
        return (was_busy and id not in held.busy) or now_owed < owed

    def _next_turn(self) -> int:
        self._turns += 1
        return self._turns


def _of_bag(bag: _Bag, applicant: Applicant, found: _Choice | None) -> _Choice | None:
    """A task of the bag that `applicant` had not, better one without wallets of its owner."""
    looked = 0
    for task in bag:
        if applicant.wallet in task.replicates or not suits(applicant, task):
            continue
        if not meets_kin(applicant, task):
            return (False, bag.turn, task)
        found = found or (True, bag.turn, task)
        looked += 1
        if looked >= _GLANCE:
            break
    return found
