"""Whole worlds by seed: their fates, and the one of a seed once more."""

from __future__ import annotations

from dataclasses import fields, replace

from tallystick.poco.ledger import ChainStatus
from tallystick.sim.agreement import Broken
from tallystick.sim.odds import Plan
from tallystick.sim.voyage import Fate
from tallystick.sim.whole.faults import Faults, WholePlan, random_whole
from tallystick.sim.whole.world import Whole, live


def replay(seed: int) -> Whole:
    """Live the random world of `seed` once more; raises Broken as it did then."""
    return live(random_whole(seed))


def fate(seed: int) -> Fate:
    """What becomes of the random world of `seed`."""
    return _fate(random_whole(seed))


def smallest(seed: int, *, tries: int = 40) -> tuple[WholePlan, str]:
    """The broken world of `seed` with as few kinds of faults and machines as break it, and its
    story."""
    plan, left, again = random_whole(seed), tries, True
    while again and left > 0:
        again = False
        for smaller in _smaller(plan):
            left -= 1
            if _fate(smaller).broken:
                plan, again = smaller, True
                break
    return plan, _fate(plan).broken


def _smaller(plan: WholePlan) -> list[WholePlan]:
    machines = plan.plan.machines
    fewer = [
        replace(plan, plan=_without(plan.plan, n))
        for n in range(len(machines))
        if len(machines) > 1
    ]
    if plan.plan.audit:
        fewer.append(replace(plan, plan=replace(plan.plan, audit=0.0, auditors=0)))
    calm = Faults()
    milder = [
        replace(plan, faults=replace(plan.faults, **{each.name: getattr(calm, each.name)}))
        for each in fields(Faults)
        if getattr(plan.faults, each.name) != getattr(calm, each.name)
    ]
    return fewer + milder


def _without(plan: Plan, n: int) -> Plan:
    """The same with one machine less; others' auditors stay auditors."""
    return replace(
        plan,
        machines=plan.machines[:n] + plan.machines[n + 1 :],
        auditors=plan.auditors - (n < plan.auditors),
    )


def _fate(plan: WholePlan) -> Fate:
    try:
        world = live(plan)
    except Broken as broken:
        return Fate(plan.plan.seed, 0, 0, 0, broken=str(broken))
    ends = [task.status for task in world.blocks.ledger.tasks.values()]
    paid, refunded = ends.count(ChainStatus.COMPLETED), ends.count(ChainStatus.FAILED)
    return Fate(plan.plan.seed, world.told[-1][0], paid, refunded)
