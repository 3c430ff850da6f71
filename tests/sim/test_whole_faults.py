"""Faults of whole worlds, one at a time: that they happen, and that the promises hold."""

from __future__ import annotations

import re

import pytest

from tallystick.chain.rpc import Rpc
from tallystick.poco.ledger import ChainStatus
from tallystick.sim.agreement import Broken
from tallystick.sim.odds import Machine, Plan, Purchase
from tallystick.sim.whole.faults import Faults, WholePlan, random_whole
from tallystick.sim.whole.lies import Kind, Lie
from tallystick.sim.whole.scenarios import replay
from tallystick.sim.whole.world import Whole, live
from tallystick.worker.funds import Funds


def pool(seed: int, *machines: Machine, tasks: int = 1, **faults: float) -> WholePlan:
    """A purchase at trust 1, and some machines."""
    purchase = Purchase(at=1, time_unit=40, trust=1, lots=(tasks,))
    plan = Plan(seed=seed, purchases=(purchase,), machines=machines or (Machine(),))
    return WholePlan(plan=plan, faults=Faults(**faults))


def statuses(world: Whole) -> set[ChainStatus]:
    return {task.status for task in world.blocks.ledger.tasks.values()}


@pytest.fixture
def lying(monkeypatch: pytest.MonkeyPatch):
    """Makes every lie one of a kind, told by the node that is asked first."""

    def choose(kind: Kind, size: int = 2) -> None:
        monkeypatch.setattr(Lie, "any", lambda random: Lie(kind, size))
        monkeypatch.setattr(Whole, "_liar", lambda self, nodes: nodes[0])

    return choose


@pytest.mark.parametrize("kind", Kind)
def test_one_of_two_nodes_lies_all_the_time_and_the_task_is_completed(kind: Kind, lying):
    """Of worker and scheduler alike: each has always one node that tells this lie."""
    lying(kind)
    world = live(pool(1, lies=1.0))
    assert statuses(world) == {ChainStatus.COMPLETED}
    assert any(lie.told for lie in world.lies)
    assert f"a node tells {kind}" in world.story()


@pytest.mark.long
@pytest.mark.parametrize("kind", [Kind.NO_LOGS, Kind.DROPS, Kind.MISCOUNTS])
def test_who_does_not_ask_another_node_pays_for_it(
    kind: Kind, lying, monkeypatch: pytest.MonkeyPatch
):
    """The same worlds, when no node is ever doubted: tasks end late, or never."""
    lying(kind)
    doubting = seconds(1)
    monkeypatch.setattr(Rpc, "doubt", lambda self: None)
    assert seconds(1) > doubting + 20


def seconds(seed: int) -> int:
    """Until all has ended in a world of lies."""
    try:
        return live(pool(seed, lies=1.0)).told[-1][0]
    except Broken:
        return 400


@pytest.mark.long
def test_a_wallet_that_runs_out_is_filled_up_and_every_reveal_is_paid():
    """Many tasks at once, and coin for a few."""
    world = live(pool(5, Machine(slots=12), tasks=12, poor=1.0))
    ends = [task.status for task in world.blocks.ledger.tasks.values()]
    assert ends.count(ChainStatus.COMPLETED) > 6
    assert "its wallet is filled up" in world.story()


def test_votes_that_spend_what_reveals_need_are_noticed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Funds, "gas_ahead", lambda self, task: 0)
    monkeypatch.setattr(Funds, "_no_gas", lambda self: None)
    with pytest.raises(Broken, match="cannot pay for its"):
        live(pool(5, Machine(slots=12), tasks=12, poor=1.0))


def test_workers_set_back_to_older_folders_keep_every_promise():
    """They ask the chain before they vote: a second vote would be refused, and is a promise
    broken, as is a nonce that is used again. Some lose a digest that was in no copy."""
    restored = 0
    for seed in (6, 9):
        machines = Machine(slots=2), Machine(slots=2)
        world = live(pool(seed, *machines, tasks=4, aged=0.08, outage=2.0))
        assert statuses(world) <= {ChainStatus.COMPLETED, ChainStatus.FAILED}
        restored += world.story().count("is restored from a backup")
    assert restored


def test_chance_sets_workers_back_in_some_worlds():
    """One of seven; the test of a hundred worlds lives through the first of them."""
    assert sum(random_whole(seed).faults.aged > 0 for seed in range(400)) == 56
    story = replay(43).story()
    assert len(re.findall(r"worker \d +is restored from a backup", story)) > 3
