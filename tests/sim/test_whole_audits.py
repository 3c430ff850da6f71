"""Pools of the shipped programs that audit: who may vote, who is paid, and who is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from tallystick.lifecycle import agenda, audit
from tallystick.lifecycle.audit import Conclude
from tallystick.lifecycle.facts import Audited, Authorized
from tallystick.lifecycle.task import Task
from tallystick.poco.ledger import ChainStatus, Vote
from tallystick.scheduler.audits import Audits
from tallystick.scheduler.deals import births
from tallystick.sim.agreement import Broken
from tallystick.sim.odds import Character, Machine, Plan, Purchase
from tallystick.sim.whole import parties
from tallystick.sim.whole.crashes import LIVES, course, killed, singles
from tallystick.sim.whole.faults import Faults, WholePlan
from tallystick.sim.whole.world import Whole, live
from tallystick.worker.owed import Owed

OWN, HONEST = Machine(slots=1), Machine(slots=2)
LIAR = replace(HONEST, character=Character.LIAR)
CLASSIC = replace(LIAR, classic=True)
PRICE = 10**9


def pool(*machines: Machine, own: int = 1, tasks: int = 2, seed: int = 3) -> WholePlan:
    """A pool that audits every result, in a world where nothing happens; the first `own`
    machines are the operator's."""
    purchase = Purchase(at=1, time_unit=60, trust=1, price=PRICE, lots=(tasks,))
    plan = Plan(seed=seed, purchases=(purchase,), machines=machines, audit=1.0, auditors=own)
    return WholePlan(plan=plan, faults=Faults(latency=0))


def found(world: Whole, agreed: bool) -> list[Audited]:
    facts = (what for who, what in ((w, f) for _, w, f in world.told) if who == "scheduler")
    return [fact for fact in facts if isinstance(fact, Audited) and fact.agreed is agreed]


def voters(world: Whole) -> set[str]:
    """Whose results were paid."""
    names = {party.address: party.name for party in world.parties}
    tasks = world.blocks.ledger.tasks.values()
    return {
        names[who]
        for task in tasks
        if task.status is ChainStatus.COMPLETED
        for who in task.winners(Vote.PROVED)
    }


def statuses(world: Whole) -> list[ChainStatus]:
    return [task.status for task in world.blocks.ledger.tasks.values()]


def test_an_honest_worker_that_is_audited_votes_afterwards_and_is_paid() -> None:
    world = live(pool(OWN, HONEST, tasks=3))
    assert statuses(world) == [ChainStatus.COMPLETED] * 3
    audited = {each.worker for each in found(world, agreed=True)}
    worker = world.workers["worker 2"].address
    assert audited == {worker}
    assert world.blocks.ledger.escrow.balance(worker) > 10**12
    assert not found(world, agreed=False)


def test_a_liar_is_found_before_it_votes_and_gets_nothing_more() -> None:
    world = live(pool(OWN, LIAR, HONEST, tasks=4))
    assert statuses(world) == [ChainStatus.COMPLETED] * 4
    liar = world.workers["worker 2"].address
    assert {each.worker for each in found(world, agreed=False)} == {liar}
    assert "worker 2" not in voters(world)
    assert not any(isinstance(f, Authorized) and f.worker == liar for _, _, f in world.told)


def test_a_liar_that_voted_before_it_was_compared_is_not_paid() -> None:
    """Its task is claimed: the requester has its money back."""
    world = live(pool(OWN, CLASSIC, HONEST, tasks=2, seed=4))
    assert ChainStatus.FAILED in statuses(world)
    assert "worker 2" not in voters(world)
    assert found(world, agreed=False)


@pytest.mark.parametrize("seed", [3, 5])
def test_a_stranger_that_agrees_is_paid_or_its_work_ends(seed: int) -> None:
    """Where one vote decides a coin says which of the two is paid; the other has an end too,
    which every whole world promises of all replicates."""
    world = live(pool(HONEST, HONEST, own=0, seed=seed))
    assert statuses(world) == [ChainStatus.COMPLETED] * 2
    assert found(world, agreed=True)


def test_an_authorization_for_who_was_found_wrong_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Audits, "distrusts", lambda self, worker: False)
    plan = pool(OWN, LIAR)
    first = plan.plan.purchases[0]
    twice = replace(plan.plan, purchases=(first, replace(first, at=50, lots=(4,))))
    with pytest.raises(Broken, match=r"worker 2 was found wrong, and gets Assigned"):
        live(replace(plan, plan=twice))


def test_a_payment_for_what_is_known_to_be_wrong_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agenda, "is_refuted", lambda task: False)
    monkeypatch.setattr(audit, "is_refuted", lambda task: False)
    with pytest.raises(Broken, match=r"was found wrong on 0x.*, and is to be paid"):
        live(pool(OWN, CLASSIC, HONEST, tasks=2, seed=4))


def test_a_vote_before_the_comparison_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_was_doubted", lambda mine: False)
    with pytest.raises(
        Broken, match=r"may vote on 0x.* before anybody has compared its result"
    ):
        live(pool(OWN, LIAR, HONEST))


def test_an_honest_worker_that_is_found_wrong_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def turned(task: Task) -> Iterator[Conclude]:
        for each in conclusions(task):
            yield Conclude(each.task, each.worker, not each.agreed, each.owner, each.counts)

    conclusions = audit._conclusions
    monkeypatch.setattr(audit, "_conclusions", turned)
    with pytest.raises(Broken, match=r"is honest and was found wrong|lies and was found right"):
        live(pool(OWN, LIAR, HONEST))


def test_a_right_result_that_nobody_may_vote_for_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(audit, "_electors", lambda task, now: iter(()))
    with pytest.raises(Broken, match=r"is right on 0x.*, and nobody may vote"):
        live(pool(OWN, HONEST))


def replaced() -> WholePlan:
    """Two bags of tasks, and schedulers with the same wallet that follow one another."""
    purchase = Purchase(at=1, time_unit=60, trust=1, lots=(2, 2))
    plan = Plan(seed=2, purchases=(purchase,), machines=(HONEST, HONEST))
    return WholePlan(plan=plan, faults=Faults(replaced=0.1, outage=2.0))


def test_a_new_scheduler_with_an_empty_folder_finds_its_deals_on_the_chain() -> None:
    """The same wallet, the same pool: tasks go on, and nobody loses a stake."""
    world = live(replaced())
    told = world.story()
    assert told.index("is replaced: the new one knows nothing") < told.index(" Finalized(")
    assert statuses(world) == [ChainStatus.COMPLETED] * 4


@pytest.fixture
def replaced_at(monkeypatch: pytest.MonkeyPatch):
    """A new scheduler at one second, while workers wait for what an audit says."""

    def choose(second: int) -> None:
        was = Whole._second

        async def pass_one(self: Whole) -> None:
            await was(self)
            if self.now == second:
                self.copies.replace(self.scheduler)

        monkeypatch.setattr(Whole, "_second", pass_one)

    return choose


def test_a_new_scheduler_is_told_what_workers_have_handed_in(replaced_at) -> None:
    replaced_at(8)
    world = live(pool(HONEST, HONEST, own=0, tasks=1))
    assert "is replaced" in world.story()
    assert statuses(world) == [ChainStatus.COMPLETED]


def test_a_worker_that_does_not_tell_a_new_scheduler_is_seen(
    replaced_at, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Owed, "meet", lambda self, scheduler, tasks: False)
    replaced_at(8)
    with pytest.raises(Broken, match=r"waits with a result of 0x.* that nobody knows of"):
        live(pool(HONEST, HONEST, own=0, tasks=1))


def test_a_new_scheduler_that_reads_no_old_deals_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    began = count()

    def blind(*parts: Any) -> Any:
        async def pass_over(notice: object) -> None:
            return None

        return pass_over if next(began) else births(*parts)

    monkeypatch.setattr(parties, "births", blind)
    with pytest.raises(Broken, match=r"has not ended|still waits for"):
        live(replaced())


def test_the_audited_life_is_one() -> None:
    """Its worker is compared with the auditor, is found right, and alone is paid."""
    world = live(LIVES["audited"])
    assert statuses(world) == [ChainStatus.COMPLETED]
    assert {each.worker for each in found(world, agreed=True)} == {
        world.workers["worker 2"].address
    }
    assert voters(world) == {"worker 2"}


@pytest.mark.parametrize("party", ["worker 1", "worker 2", "scheduler"])
def test_killed_at_some_acts_of_an_audited_life_the_end_is_the_same(party: str) -> None:
    found = course(LIVES["audited"])
    for at in range(5, found.points[party], 14):
        assert killed(LIVES["audited"], found.ends, (party, 1, at)) == ""


@pytest.mark.long
def test_killed_at_every_act_of_an_audited_life_the_end_is_the_same() -> None:
    found = course(LIVES["audited"])
    assert sum(found.points.values()) > 120
    for kill in singles(found):
        assert killed(LIVES["audited"], found.ends, kill) == ""
