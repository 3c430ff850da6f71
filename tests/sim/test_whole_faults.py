"""Faults of whole worlds, one at a time: that they happen, and that the promises hold."""

from __future__ import annotations

import pytest

from tallystick.chain.rpc import Rpc
from tallystick.poco.ledger import ChainStatus
from tallystick.sim.agreement import Broken
from tallystick.sim.odds import Machine, Plan, Purchase
from tallystick.sim.whole.faults import Faults, WholePlan
from tallystick.sim.whole.lies import Kind, Lie
from tallystick.sim.whole.world import Whole, live


def pool(seed: int, *machines: Machine, tasks: int = 1, **faults: float) -> WholePlan:
    """A purchase at trust 1, and some machines."""
    purchase = Purchase(at=1, time_unit=40, trust=1, lots=(tasks,))
    plan = Plan(seed=seed, purchases=(purchase,), machines=machines or (Machine(),))
    return WholePlan(plan=plan, faults=Faults(**faults))


def statuses(world: Whole) -> set[ChainStatus]:
    return {task.status for task in world.blocks.ledger.tasks.values()}


@pytest.fixture
def lying(monkeypatch: pytest.MonkeyPatch):
    """Makes every lie one of a kind."""

    def choose(kind: Kind, size: int = 2) -> None:
        monkeypatch.setattr(Lie, "any", lambda random: Lie(kind, size))

    return choose


@pytest.mark.parametrize("kind", Kind)
def test_one_of_two_nodes_lies_all_the_time_and_the_task_is_completed(kind: Kind, lying):
    """Of worker and scheduler alike: each has always one node that tells this lie."""
    lying(kind)
    for seed in (1, 2):
        world = live(pool(seed, lies=1.0))
        assert statuses(world) == {ChainStatus.COMPLETED}
        assert any(lie.told for lie in world.lies)
        assert f"a node tells {kind}" in world.story()


@pytest.mark.parametrize("kind", [Kind.NO_LOGS, Kind.DROPS])
def test_who_does_not_ask_another_node_pays_for_it(
    kind: Kind, lying, monkeypatch: pytest.MonkeyPatch
):
    """The same worlds, when no node is ever doubted: tasks fail, or end late."""
    lying(kind)
    calm = live(pool(4, lies=1.0))
    monkeypatch.setattr(Rpc, "doubt", lambda self: None)
    try:
        world = live(pool(4, lies=1.0))
    except Broken:
        return
    late = world.told[-1][0] > calm.told[-1][0] + 30
    assert late or statuses(world) != {ChainStatus.COMPLETED}
