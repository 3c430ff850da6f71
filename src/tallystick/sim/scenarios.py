"""Worlds to live in: random ones by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from tallystick.sim.invariants import Broken, Invariants
from tallystick.sim.odds import Character, Machine, Nature, Odds, Plan, Purchase
from tallystick.sim.shrink import shrink
from tallystick.sim.voyage import Fate
from tallystick.sim.world import World

EPILOGUE = 40
"""Seconds for which a world goes on, as unkind as before, when every task is over."""
AFTERMATH = 150
"""Calm seconds at the end, in which everything must be settled."""
_NATURES = (
    *(Nature.WORKS,) * 12,
    *(Nature.CRASHES, Nature.NO_APP, Nature.NO_DATA, Nature.ERRATIC),
)
_CHARACTERS = (
    *(Character.HONEST,) * 9,
    *(Character.LIAR, Character.CONSPIRATOR, Character.SILENT, Character.SHY),
    *(Character.DAWDLER, Character.CROOK, Character.COPYCAT),
)
_ROGUES = (*(Character.HONEST,) * 3, *Character)
"""Who lives where hardly anybody can be relied on."""
_FEARFUL = (
    *(Character.HONEST,) * 3,
    *(Character.SHY,) * 4,
    *(Character.LIAR, Character.CONSPIRATOR, Character.DAWDLER),
)
"""Who lives where hardly anybody reveals."""


def random_plan(seed: int) -> Plan:
    """A world of any kind, most of them hard to live in."""
    random = Random(f"plan {seed}")
    purchases = tuple(_purchase(random) for _ in range(random.randint(1, 3)))
    shortest = min(purchase.time_unit for purchase in purchases)
    people = random.choice((*(_CHARACTERS,) * 4, *(_ROGUES,) * 2, _FEARFUL))
    machines = [_machine(random, people) for _ in range(random.randint(2, 9))]
    audit, auditors = random.choice((0, 0, 0, 0.5, 1.0)), random.randint(0, 1)
    for n in range(auditors if audit else 0):
        machines[n] = replace(machines[n], character=Character.HONEST)
    return Plan(
        seed=seed,
        purchases=purchases,
        machines=tuple(machines),
        audit=audit,
        auditors=auditors if audit else 0,
        dawdles=random.random() < 0.125,
        odds=_odds(random, headroom=min(10, shortest // 4)),
    )


def live(plan: Plan) -> World:
    """Run a world from its first second to its last, every invariant watched.

    Raises Broken with the seed and the story when one does not hold.
    """
    world = World(plan)
    invariants = Invariants(world)
    try:
        over_since = 0
        while world.now < world.ends and over_since < EPILOGUE:
            world.second()
            invariants.check()
            over_since = over_since + 1 if world.over else 0
        world.calm()
        for _ in range(AFTERMATH):
            world.second()
            invariants.check()
            if world.now % 10 == 0 and invariants.settled:
                break
        invariants.check_end()
    except Broken as broken:
        raise Broken(
            f"seed {plan.seed}, second {world.now}: {broken}\n{world.story()}"
        ) from broken
    return world


def replay(seed: int) -> World:
    """Live the random world of `seed` once more; raises Broken as it did then."""
    return live(random_plan(seed))


def fate(seed: int) -> Fate:
    """What becomes of the random world of `seed`."""
    return _fate(random_plan(seed))


def _fate(plan: Plan) -> Fate:
    try:
        world = live(plan)
    except Broken as broken:
        return Fate(plan.seed, 0, 0, 0, broken=str(broken))
    statuses = [str(task.status) for task in world.scheduler.tasks]
    return Fate(plan.seed, world.now, statuses.count("completed"), statuses.count("failed"))


def smallest(seed: int, *, tries: int = 300) -> tuple[Plan, str]:
    """The broken world of `seed` made as small as can be, and its story."""
    plan = shrink(random_plan(seed), lambda smaller: bool(_fate(smaller).broken), tries=tries)
    return plan, _fate(plan).broken


def _purchase(random: Random) -> Purchase:
    lots = tuple(random.randint(1, 3) for _ in range(random.choice((1, 1, 2))))
    return Purchase(
        at=random.randint(1, 60),
        time_unit=random.choice((16, 30, 60, 60)),
        trust=random.choice((1, 1, 2, 3, 4, 5, 5, 7, 10)),
        price=random.choice((0, 3, 17, 10**9, 10_000_000_007)),
        lots=lots,
        natures=tuple(random.choice(_NATURES) for _ in range(sum(lots))),
    )


def _machine(random: Random, people: Sequence[Character]) -> Machine:
    return Machine(
        character=random.choice(people),
        score=random.choice((0, 0, 0, 11, 12, 30)),
        deposit=random.choice((4 * 10**9, 10**12, 10**12, 10**12)),
        slots=random.choice((1, 2, 4)),
        at_once=random.choice((True, False)),
    )


def _odds(random: Random, headroom: int) -> Odds:
    block_time = random.choice((1, 1, 2)) if headroom > 5 else 1
    return Odds(
        crash=random.choice((0, 0.005, 0.01, 0.03)),
        outage=random.choice((2, 20, 150)),
        death=random.choice((0, 0.1)),
        restore=random.choice((0, 0, 0.005)),
        loss=random.choice((0, 0.1, 0.3)),
        delay=random.choice((0, 0.02)),
        reorg=random.choice((0, 0.01, 0.05)),
        depth=random.choice((1, 3, 6)),
        flake=random.choice((0, 0.2)),
        fail=random.choice((0, 0.02)),
        latency=max(1, headroom - block_time - 2),
        block_time=block_time,
    )
