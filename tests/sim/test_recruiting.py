"""People are asked while a task lacks them, and vote: what the promise sees."""

from __future__ import annotations

import pytest

from tallystick.lifecycle.agenda import Do
from tallystick.lifecycle.facts import Step
from tallystick.lifecycle.task import TaskStatus
from tallystick.poco.contribution import Tally
from tallystick.poco.values import Hash
from tallystick.sim.agreement import carries
from tallystick.sim.invariants import Broken
from tallystick.sim.odds import Character, Machine, Odds, Plan, Purchase
from tallystick.sim.scenarios import live
from tallystick.sim.world import World

A, B = Hash(b"\1" * 32), Hash(b"\2" * 32)
LIAR = Machine(character=Character.LIAR)


def plan(*machines: Machine, trust: int = 3, **odds: float) -> Plan:
    purchase = Purchase(at=1, time_unit=60, trust=trust)
    return Plan(seed=2, purchases=(purchase,), machines=machines, odds=Odds(**odds))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("groups", "best", "trust", "wins"),
    [
        ([2], 2, 1, True),
        ([2], 2, 2, True),
        ([2], 2, 3, False),
        ([4], 4, 5, False),
        ([4], 4, 4, True),
        ([4, 2], 4, 3, False),
        ([9, 2], 9, 4, False),
        ([10, 2], 10, 4, True),
    ],
)
def test_what_carries_a_consensus(groups: list[int], best: int, trust: int, wins: bool) -> None:
    assert carries(groups, best, trust) is wins
    assert Tally({A: best, B: sum(groups) - best}).settles(A, trust) is wins


def test_votes_that_differ_are_outvoted() -> None:
    world = live(plan(LIAR, *(Machine(),) * 4))
    assert [task.status for task in world.scheduler.tasks] == [TaskStatus.COMPLETED]


def test_a_scheduler_that_asks_nobody_more_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "tallystick.lifecycle.pool.wants_worker",
        lambda task, now: task.status is TaskStatus.ACTIVE and not task.replicates,
    )
    with pytest.raises(Broken, match=r"lacks people, and worker . asks for work in vain"):
        live(plan(LIAR, *(Machine(),) * 4))


def test_a_scheduler_that_waits_for_the_dead_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nobody: ...

    monkeypatch.setattr("tallystick.lifecycle.agenda.Lost", Nobody)
    monkeypatch.setattr(World, "_fate", _one_dies)
    with pytest.raises(Broken, match=r"lacks people, and worker 2 asks for work in vain"):
        live(plan(Machine(), Machine(), trust=1))


def test_a_dead_worker_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "_fate", _one_dies)
    world = live(plan(Machine(), Machine(), trust=1))
    assert [task.status for task in world.scheduler.tasks] == [TaskStatus.COMPLETED]


def _one_dies(world: World, party: object) -> None:
    first = next(iter(world.workers.values()))
    if party is first and first.up and any(task.replicates for task in first.tasks):
        world.kill(first)


def test_a_worker_that_does_not_vote_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def keeps(world: World, party: object, command: object, call: object) -> bool:
        return isinstance(command, Do) and command.step is Step.CONTRIBUTE

    monkeypatch.setattr(World, "_withheld", keeps)
    with pytest.raises(Broken, match=r"worker . has 0x.* and does not vote"):
        live(plan(Machine()))


def test_whoever_is_silent_or_cut_off_is_no_complaint() -> None:
    live(plan(Machine(character=Character.SILENT), LIAR, loss=0.3))
