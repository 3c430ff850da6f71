"""Many worlds at once, and the smallest of those that break."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tallystick.sim import scenarios
from tallystick.sim.invariants import Broken, Invariants
from tallystick.sim.odds import Machine, Nature, Odds, Plan, Purchase
from tallystick.sim.scenarios import fate, random_plan, smallest
from tallystick.sim.shrink import shrink
from tallystick.sim.voyage import voyage


def test_worlds_come_in_the_order_of_their_seeds_whoever_lives_them():
    alone = list(voyage(fate, 300, 30, processes=1))
    assert [each.seed for each in alone] == list(range(300, 330))
    assert list(voyage(fate, 300, 30, processes=2)) == alone
    assert all(each.seconds > 0 and not each.broken for each in alone)
    assert sum(each.completed + each.failed for each in alone) >= 30


def test_what_does_not_matter_is_left_out():
    plan = Plan(
        seed=1,
        purchases=(
            Purchase(at=1, time_unit=60, lots=(2, 2)),
            Purchase(at=9, time_unit=60, trust=5, natures=(Nature.ERRATIC,)),
        ),
        machines=(Machine(), Machine(score=30), Machine(slots=1)),
        odds=Odds(crash=0.01, reorg=0.05, depth=6),
    )
    left = shrink(plan, lambda p: p.odds.reorg > 0 and any(m.score == 30 for m in p.machines))
    assert left.machines == (Machine(score=30),)
    assert left.odds == Odds(reorg=0.05)
    assert left.purchases in (
        (replace(plan.purchases[0], lots=(1,)),),
        (replace(plan.purchases[1], trust=1, natures=()),),
    )


def test_a_broken_world_tells_its_seed_and_is_made_smaller(monkeypatch: pytest.MonkeyPatch):
    def check(self: Invariants) -> None:
        if any(who == "worker 1" for _, who, _ in self._world.told):
            raise Broken("worker 1 was seen")

    monkeypatch.setattr(scenarios.Invariants, "check", check)
    seed = next(s for s in range(50) if fate(s).broken)
    assert f"seed {seed}, second" in fate(seed).broken
    plan, story = smallest(seed, tries=40)
    assert len(plan.machines) <= len(random_plan(seed).machines)
    assert "worker 1 was seen" in story
