"""A pool that audits, under crashes, reorgs, losses and lies."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tallystick.lifecycle.agenda import Do
from tallystick.lifecycle.facts import Audited, Step
from tallystick.poco.contribution import result_hash
from tallystick.poco.ledger import ChainStatus
from tallystick.sim.odds import Character, Machine, Odds, Plan, Purchase
from tallystick.sim.scenarios import live, random_plan
from tallystick.sim.work import Circumstances, digest
from tallystick.sim.world import World


def audited(seed: int, share: float) -> Plan:
    """A random world with an auditor, in which one vote decides many tasks."""
    plan = random_plan(seed)
    honest = replace(plan.machines[0], character=Character.HONEST)
    first, *others = plan.purchases
    machines = (honest, *plan.machines[1:])
    purchases = (replace(first, trust=1), *others)
    return replace(plan, machines=machines, purchases=purchases, audit=share, auditors=seed % 2)


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_worlds_with_audits_keep_every_promise(share: float):
    for seed in range(10):
        live(audited(seed, share))


@pytest.mark.long
@pytest.mark.parametrize("first", range(100, 200, 50))
def test_many_more(first: int):
    for seed in range(first, first + 50):
        live(audited(seed, 1.0 if seed % 3 else 0.3))


def wrong_results(world: World) -> int:
    """Tasks that were completed with something else than what an honest machine computes."""
    found = 0
    for task in world.scheduler.tasks:
        known = world.chain.ledger.tasks[task.id]
        if known.status is not ChainStatus.COMPLETED:
            continue
        nature = world.nature(task)
        honest = Circumstances(nature=nature, character=Character.HONEST, free=0, stake=0)
        right = digest(next(iter(world.workers)), Do(task.id, Step.COMPUTE), honest)
        found += known.consensus != result_hash(task.id, right)
    return found


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_no_lie_is_paid_where_everything_is_audited(share: float, at_once: bool):
    honest = Machine(at_once=at_once, slots=2)
    liar = replace(honest, character=Character.CONSPIRATOR)
    world = live(
        Plan(
            seed=3,
            purchases=(Purchase(at=1, time_unit=60, lots=(6,)),),
            machines=(honest, liar, liar, honest),
            odds=Odds(latency=1, block_time=1),
            audit=share,
            auditors=1,
        )
    )
    caught = any(isinstance(fact, Audited) and not fact.agreed for _, _, fact in world.told)
    if share:
        assert wrong_results(world) == 0
        assert caught
    else:
        assert wrong_results(world) > 0, "liars do what they can"
