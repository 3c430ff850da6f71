"""What happens to a whole pool, beside what `odds.Odds` names: by seed, and how often."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

from tallystick.sim.odds import Character, Machine, Nature, Plan, Purchase


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Probabilities, per second and party unless said otherwise. By default nothing bad."""

    crash: float = 0.0
    """A process is killed, between any two awaits."""
    outage: float = 8.0
    """The most seconds until it is started again."""
    latency: int = 2
    """The most blocks that a transaction waits before it may be mined."""
    loss: float = 0.0
    """Per message and answer."""
    doubled: float = 0.0
    """Per message: it arrives twice."""
    slow: float = 0.05
    """The most seconds that a message takes; later ones overtake it."""
    cut: float = 0.0
    """Nothing reaches the scheduler and the store for a while."""
    dark: float = 0.0
    """No node answers for a while."""
    lag: float = 0.0
    """One of two nodes falls behind for a while, or answers nonsense."""
    reorg: float = 0.0
    """Per block: blocks are taken back."""
    depth: int = 3
    """At most so many."""
    forgets: float = 0.0
    """Per transaction: every node forgets it."""
    spike: float = 0.0
    """Per block: gas becomes dearer than the cap of a vote for a while."""
    full: float = 0.0
    """The disk is full for a while."""
    skew: float = 0.0
    """The machine's clock jumps by up to a minute."""
    flake: float = 0.0
    """Per fetch: the registry does not answer."""
    restore: float = 0.0
    """Of the scheduler: it is set back to a copy of its folder."""
    replaced: float = 0.0
    """Of the scheduler: a new one takes its place, which knows nothing."""
    aged: float = 0.0
    """Of a worker: it is set back to a copy of its folder."""
    lies: float = 0.0
    """One of two nodes lies for a while, at the true height; the other one is in order."""
    poor: float = 0.0
    """Per worker: there is gas for a few calls in its wallet, at first and whenever its owner
    fills it up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WholePlan:
    """A whole world before its first second."""

    plan: Plan
    faults: Faults = field(default_factory=Faults)
    kills: tuple[tuple[str, int, int], ...] = ()
    """Party, its life counted from 1, and the point of that life at which it is killed."""
    reads: bool = True
    """Whether questions count as points."""
    audit_trust: int = 100
    """Where the pool audits: up to what doubt it believes a worker alone, 1 in so many. At 5 it
    believes strangers."""


_NATURES = (*(Nature.WORKS,) * 8, Nature.CRASHES, Nature.ERRATIC)
_CHARACTERS = (*(Character.HONEST,) * 7, Character.LIAR, Character.CONSPIRATOR)
_RARE = (Character.SILENT, Character.SHY)
_AUDITS = (*(0.0,) * 7, 0.5, 1.0, 1.0)
_REPLACED = (*(0.0,) * 9, 0.01)
_AGED = (*(0.0,) * 17, 0.003, 0.01, 0.03)
_CLASSIC = 0.2
"""Of workers, where the pool audits."""


def random_whole(seed: int) -> WholePlan:
    """A world of any kind, most of them hard to live in."""
    random = Random(f"whole {seed}")
    lots = (random.choice((1, 1, 2)),)
    purchase = Purchase(
        at=1,
        time_unit=random.choice((40, 60)),
        trust=random.choice((1, 1, 1, 3, 5)),
        price=random.choice((0, 10**9, 10_000_000_007)),
        lots=lots,
        natures=tuple(random.choice(_NATURES) for _ in range(sum(lots))),
    )
    machines = tuple(_machine(random) for _ in range(random.randint(2, 4)))
    plan = Plan(seed=seed, purchases=(purchase,), machines=machines)
    # What came later has dice of its own: in most worlds all else is as it was.
    world = WholePlan(plan=plan, faults=_faults(random))
    world = _replaced(world, Random(f"successors {seed}"))
    return _audited(_aged(world, Random(f"copies {seed}")), Random(f"belief {seed}"))


def _audited(world: WholePlan, random: Random) -> WholePlan:
    """The same world, or one whose pool audits, with a machine of its own or without."""
    share, own, trust = random.choice(_AUDITS), random.choice((0, 1)), random.choice((5, 100))
    if not share:
        return world
    machines = [replace(m, classic=random.random() < _CLASSIC) for m in world.plan.machines]
    for n in range(own):
        machines[n] = replace(machines[n], character=Character.HONEST, classic=False)
    plan = replace(world.plan, audit=share, auditors=own, machines=tuple(machines))
    return replace(world, plan=plan, audit_trust=trust)


def _replaced(world: WholePlan, random: Random) -> WholePlan:
    """The same world, or one whose scheduler may be replaced."""
    return replace(world, faults=replace(world.faults, replaced=random.choice(_REPLACED)))


def _aged(world: WholePlan, random: Random) -> WholePlan:
    """The same world, or one whose workers may be set back to older copies of their folders."""
    return replace(world, faults=replace(world.faults, aged=random.choice(_AGED)))


def _machine(random: Random) -> Machine:
    return Machine(
        character=random.choice(_CHARACTERS * 2 + _RARE),
        score=random.choice((0, 0, 12, 30)),
        slots=random.choice((1, 2)),
        at_once=random.choice((True, False)),
    )


def _faults(random: Random) -> Faults:
    def some(*values: float) -> float:
        return random.choice((0.0, *values))

    return Faults(
        crash=some(0.005, 0.02),
        outage=random.choice((2.0, 10.0, 40.0)),
        loss=some(0.05, 0.2),
        doubled=some(0.1),
        slow=random.choice((0.05, 0.5)),
        cut=some(0.003),
        dark=some(0.003),
        lag=some(0.01),
        reorg=some(0.02, 0.05),
        depth=random.choice((1, 3, 6)),
        forgets=some(0.1),
        spike=some(0.01),
        full=some(0.003),
        skew=some(0.003),
        flake=some(0.2),
        restore=some(0.002),
        lies=some(0.01),
        poor=some(0.5),
    )
