"""Killing a party at every act of complete lives: whatever the moment, the end is the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from random import Random
from typing import Final

from tallystick.poco.ledger import ChainStatus
from tallystick.sim.agreement import Broken
from tallystick.sim.odds import Character, Machine, Nature, Plan, Purchase
from tallystick.sim.voyage import Fate
from tallystick.sim.whole.faults import Faults, WholePlan
from tallystick.sim.whole.world import Whole, live

Kill = tuple[str, int, int]
"""Party, its life counted from 1, and the point of that life at which it is killed."""
Job = tuple[str, tuple[ChainStatus, ...], tuple[Kill, ...]]
"""A life by its name, how its tasks end, and whom to kill."""

_PRICE: Final = 10_000_000_007
_KNOWN, _NEW = Machine(score=15), Machine()


def _life(
    *machines: Machine, trust: int = 1, nature: Nature = Nature.WORKS, auditors: int = 0
) -> WholePlan:
    # A task that nobody can finish waits for its deadline: a short one, so that it can be lived
    # thousands of times. It has all the acts of the long one.
    unit = 24 if nature is Nature.WORKS else 12
    purchase = Purchase(at=1, time_unit=unit, trust=trust, price=_PRICE, natures=(nature,))
    plan = Plan(
        seed=1,
        purchases=(purchase,),
        machines=machines,
        audit=1.0 if auditors else 0.0,
        auditors=auditors,
    )
    return WholePlan(plan=plan, faults=Faults(outage=3.0, latency=0), reads=False)


LIVES: Final[Mapping[str, WholePlan]] = {
    "trust 1": _life(_NEW),
    "trust 5 with a liar": _life(
        replace(_NEW, character=Character.LIAR), _KNOWN, _KNOWN, trust=5
    ),
    "contribute and finalize": _life(replace(_NEW, at_once=True)),
    "reopen": _life(replace(_NEW, character=Character.SHY), _NEW, trust=1),
    "audited": _life(_NEW, _NEW, auditors=1),
    "claim": _life(_NEW, _NEW, trust=3, nature=Nature.ERRATIC),
}
"""Complete lives of a task, in which nothing happens but what is listed."""


@dataclass(frozen=True, slots=True)
class Course:
    """What a life consists of, when nobody is killed."""

    points: Mapping[str, int]
    """Of each party."""
    ends: tuple[ChainStatus, ...]


def course(plan: WholePlan) -> Course:
    """Live once, and count."""
    world = live(plan)
    return Course({p.name: p.lives[0].points for p in world.parties}, _ends(world))


def singles(found: Course) -> Iterator[Kill]:
    """Every point of every party."""
    for party in found.points:
        yield from _points(party, 1, found)


def pairs(found: Course, again: Mapping[Kill, int]) -> Iterator[tuple[Kill, Kill]]:
    """Every two points: of two parties, or of one in its first and in its second life, whose
    points are counted in `again`."""
    parties = list(found.points)
    for place, one in enumerate(parties):
        for other in parties[place + 1 :]:
            yield from product(_points(one, 1, found), _points(other, 1, found))
        for first in _points(one, 1, found):
            yield from ((first, (one, 2, at)) for at in range(1, again[first] + 1))


def _points(party: str, life: int, found: Course) -> list[Kill]:
    return [(party, life, at) for at in range(1, found.points[party] + 1)]


def second_life(job: Job) -> int:
    """How many points the next life has of who is killed once."""
    name, _, (kill,) = job
    world = live(replace(LIVES[name], kills=(kill,)))
    lives = next(p.lives for p in world.parties if p.name == kill[0])
    return lives[1].points if len(lives) > 1 else 0


def killed(plan: WholePlan, ends: tuple[ChainStatus, ...], *kills: Kill) -> str:
    """What goes wrong when parties are killed at these points; "" when nothing does."""
    try:
        world = live(replace(plan, kills=kills))
    except Broken as broken:
        return f"killed at {kills}: {broken}"
    if (found := _ends(world)) != ends:
        return f"killed at {kills}: the tasks are {found}\n{world.story()}"
    return ""


def jobs(name: str) -> list[Job]:
    """All single kills of a life, for `fate`."""
    found = course(LIVES[name])
    return [(name, found.ends, (kill,)) for kill in singles(found)]


def double(name: str, counted: Iterable[int]) -> list[Job]:
    """All double kills of a life, for `fate`; `counted`: what `second_life` says of each of its
    `jobs`. The first so many are as good a sample as any."""
    found = course(LIVES[name])
    again = dict(zip(singles(found), counted, strict=True))
    kills: list[Job] = [(name, found.ends, each) for each in pairs(found, again)]
    Random(name).shuffle(kills)
    return kills


def fate(job: Job) -> Fate:
    """What becomes of a life with these kills."""
    name, ends, kills = job
    return Fate(0, 0, 0, 0, killed(LIVES[name], ends, *kills))


def _ends(world: Whole) -> tuple[ChainStatus, ...]:
    return tuple(task.status for task in world.blocks.ledger.tasks.values())
