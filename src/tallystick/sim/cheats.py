"""A population with cheats in it, and how much of what they say gets through.

Far simpler than `world`: no chain, no clock. Tasks come one after the other, a rule decides who
executes them and what is accepted; only executions and wrong results are counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Protocol


class Cheat(StrEnum):
    """How a cheat goes about it."""

    HASTY = "hasty"
    """Wrong from the first task on; all of them say the same wrong thing."""
    PATIENT = "patient"
    """Right until its word would be accepted alone; then wrong whenever it is the first to
    speak, which it sees: contributions are public."""
    RARE = "rare"
    """Patient, and then wrong in one of ten only."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """Who works here."""

    workers: int = 200
    cheats: float = 0.2
    """Their share."""
    kind: Cheat = Cheat.PATIENT
    returns: bool = False
    """Whether a cheat that was caught comes back as a stranger."""
    classic: float = 0.0
    """The share of workers that hold their authorization from the start (v9 peers): when such
    a one is caught its vote may stand on chain already, and the task is lost."""


@dataclass(slots=True)
class Person:
    """One identity."""

    name: int
    cheat: bool
    classic: bool = False
    gone: bool = False
    """Caught, and given no more work."""


@dataclass(slots=True)
class Count:
    """What came of some tasks."""

    tasks: int = 0
    executions: int = 0
    """Audits included."""
    wrong: int = 0
    """Accepted, and wrong."""
    claimed: int = 0
    """Ended by claim: the requester has its money back, the pool lost its stake."""
    caught: int = 0

    @property
    def per_task(self) -> float:
        """Executions per task."""
        return self.executions / max(self.tasks, 1)

    @property
    def wrong_share(self) -> float:
        """Of what was accepted."""
        return self.wrong / max(self.tasks - self.claimed, 1)


class Rule(Protocol):
    """One way to decide what is accepted."""

    def alone(self, person: Person) -> bool:
        """Whether this one's word alone would be accepted now: patient cheats look at it."""
        ...

    def settle(self, town: Town) -> None:
        """Have one task done, and count it."""
        ...


@dataclass(slots=True)
class Town:
    """A crowd under one rule."""

    crowd: Crowd
    random: Random
    people: list[Person] = field(default_factory=list[Person])
    count: Count = field(default_factory=Count)
    names: int = 0

    def __post_init__(self) -> None:
        for number in range(self.crowd.workers):
            self.people.append(
                self._stranger(cheat=number < self.crowd.workers * self.crowd.cheats)
            )

    def _stranger(self, *, cheat: bool) -> Person:
        self.names += 1
        return Person(self.names, cheat, classic=self.random.random() < self.crowd.classic)

    def pick(self, but: tuple[Person, ...] = ()) -> Person:
        """Somebody who may work, other than `but`."""
        while True:
            found = self.random.choice(self.people)
            if not found.gone and found not in but:
                return found

    def says(self, person: Person, rule: Rule, *, first: bool = True) -> bool:
        """Whether what it executes now is right. `first`: nobody has spoken before it."""
        self.count.executions += 1
        if not person.cheat:
            return True
        match self.crowd.kind:
            case Cheat.HASTY:
                return False
            case Cheat.PATIENT:
                return not (first and rule.alone(person))
            case Cheat.RARE:
                return not (first and rule.alone(person)) or self.random.random() >= 0.1

    def audit(self) -> None:
        """An execution by somebody trusted: always right."""
        self.count.executions += 1

    def done(self, *, right: bool) -> None:
        """A task is over, accepted."""
        self.count.tasks += 1
        self.count.wrong += not right

    def claim(self) -> None:
        """A task is over, by claim."""
        self.count.tasks += 1
        self.count.claimed += 1

    def catch(self, person: Person) -> None:
        """It gets no more work; perhaps it comes back under another name."""
        self.count.caught += 1
        person.gone = True
        if self.crowd.returns:
            place = self.people.index(person)
            self.people[place] = self._stranger(cheat=person.cheat)


MakeRule = Callable[[], Rule]


def observe(crowd: Crowd, make: MakeRule, *, warm_up: int, tasks: int, seed: int) -> Count:
    """What comes of `tasks` tasks after `warm_up` others that are not counted."""
    town, rule = Town(crowd, Random(f"cheats {seed}")), make()
    for _ in range(warm_up):
        rule.settle(town)
    town.count = Count()
    for _ in range(tasks):
        rule.settle(town)
    return town.count
