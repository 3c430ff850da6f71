"""A whole world's pool that audits: on what terms, and what its scheduler must not do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

import anyio

from tallystick.engine.journal import Entry
from tallystick.lifecycle.agenda import Finalize, PoolCommand
from tallystick.lifecycle.audit import waits
from tallystick.lifecycle.evidence import Policy
from tallystick.lifecycle.facts import Assigned, Audited, Authorized, Fact
from tallystick.lifecycle.task import Task
from tallystick.poco.values import Address, TaskId
from tallystick.sim.odds import Character, Machine, Nature
from tallystick.sim.opinions import Verdicts, held_up

if TYPE_CHECKING:
    from tallystick.sim.whole.blocks import Blocks
    from tallystick.sim.whole.faults import WholePlan
    from tallystick.sim.whole.keeper import Keeper

LET_VOTE = 40
"""Seconds in which a scheduler that is not hindered lets somebody vote who is right."""
KNOWS = 60
"""Seconds in which it knows what a worker, which is not hindered either, has handed in."""
SETTLED = 30
"""Seconds in which a scheduler knows the workers again when something has hindered them."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the operator has set, and the draws that workers cannot foresee."""

    policy: Policy | None
    auditors: tuple[Address, ...]
    random: Random


class Watched(Protocol):
    """A world, as far as its audits need to know it."""

    plan: WholePlan
    blocks: Blocks
    scheduler: Keeper
    workers: dict[str, Keeper]
    specs: dict[Address, Machine]
    dear_until: int

    @property
    def now(self) -> int:
        """Seconds since the beginning."""

    def nature(self, task: TaskId) -> Nature:
        """What becomes of the task on an honest machine."""


class Opinions:
    """Watches what the scheduler of a whole world makes of second opinions."""

    def __init__(self, world: Watched) -> None:
        self._world = world
        self._verdicts = Verdicts(world.plan.plan, self._who, self._nature)
        self._process: Any = None
        self._wrong = set[Address]()
        """Who was found wrong, as far as this scheduler has it in its journal."""
        self._found: list[str] = []
        self._held: Counter[TaskId] = Counter()
        self._untold: Counter[tuple[TaskId, Address]] = Counter()

    def attend(self, process: Any) -> None:
        """A scheduler starts: what it knows is in its journal."""
        if not self._world.plan.plan.audit:
            return
        self._process, self._wrong = process, set()
        self._verdicts.forget()
        for entry in process.journal.read():
            self._learn(entry.fact)
        process.engine.listen(self._heard)

    def begins(self, command: PoolCommand) -> None:
        """The scheduler is about to do this."""
        if isinstance(command, Finalize) and self._process is not None:
            task = self._process.engine.states[str(command.task)]
            self._found += self._verdicts.of_payment(task)

    def complaints(self) -> Iterator[str]:
        """What was wrong since the last second."""
        found, self._found = self._found, []
        yield from found
        yield from self._waiting()

    def _heard(self, entry: Entry[Fact]) -> None:
        process, fact = self._process, entry.fact
        if not isinstance(fact, Audited | Authorized | Assigned):
            return
        if not isinstance(fact, Audited) and fact.worker in self._wrong:
            self._found.append(f"{self._who(fact.worker)[0]} was found wrong, and gets {fact}")
        self._learn(fact)
        task = process.engine.states[entry.stream]
        self._found += self._verdicts.of(task, fact, process.clock.now())

    def _learn(self, fact: Fact) -> None:
        if isinstance(fact, Audited) and fact.counts and not fact.agreed:
            self._wrong.add(fact.worker)

    def _waiting(self) -> Iterator[str]:
        """Somebody whose result was found right is let vote."""
        world, before = self._world, self._held
        process = world.scheduler.process
        if not world.plan.plan.audit or process is None or not self._is_calm(world.scheduler):
            self._held, self._untold = Counter(), Counter()
            return
        yield from self._unknown(process)
        self._held = Counter()
        for task in process.engine.states.values():
            if any(self._is_there(worker) for worker in held_up(task, process.clock.now())):
                self._held[task.id] = before[task.id] + 1
            if self._held[task.id] > LET_VOTE:
                yield f"somebody is right on {task.id}, and nobody may vote"

    def _unknown(self, process: Any) -> Iterator[str]:
        """What a worker waits with, to be let vote, its scheduler knows."""
        before, self._untold = self._untold, Counter()
        for task in process.engine.states.values():
            for who, mine in task.replicates.items():
                if not (task.takes_votes and self._is_there(who)) or mine.digest is not None:
                    continue
                party = self._party(who)
                known = party.process.engine.states.get(str(task.id))
                his = known.replicates.get(who) if known else None
                if his is not None and waits(his) and his.digest is not None:
                    self._untold[task.id, who] = before[task.id, who] + 1
                if self._untold[task.id, who] > KNOWS:
                    yield f"{party.name} waits with a result of {task.id} that nobody knows of"

    def _is_there(self, worker: Address) -> bool:
        known = self._party(worker)
        silent = self._world.specs[worker].character is Character.SILENT
        trusted = worker not in self._wrong
        return trusted and not silent and known.process is not None and self._is_calm(known)

    def _is_calm(self, party: Keeper) -> bool:
        world = self._world
        quiet = max(party.since, party.disturbed, world.blocks.torn, world.dear_until)
        cut = party.weather.cut_until > anyio.current_time()
        return quiet + SETTLED < world.now and not cut

    def _who(self, worker: Address) -> tuple[str, Machine]:
        return self._party(worker).name, self._world.specs[worker]

    def _party(self, worker: Address) -> Keeper:
        return next(w for w in self._world.workers.values() if w.address == worker)

    def _nature(self, task: Task) -> Nature:
        return self._world.nature(task.id)
