"""What a pool that audits must not do, and what is seen of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tallystick.lifecycle import agenda, audit
from tallystick.lifecycle.audit import Conclude
from tallystick.lifecycle.task import Task
from tallystick.poco.ledger import ChainStatus
from tallystick.sim.invariants import Broken
from tallystick.sim.odds import Character, Machine, Odds, Plan, Purchase
from tallystick.sim.scenarios import live

HONEST = Machine(slots=2)
LIAR = Machine(character=Character.LIAR, slots=2)
BOUGHT = Purchase(at=1, time_unit=60, lots=(3,), trust=9)


def audited(*machines: Machine, auditors: int = 1, seed: int = 3) -> Plan:
    return Plan(
        seed=seed,
        purchases=(Purchase(at=1, time_unit=60, lots=(3,)),),
        machines=machines,
        odds=Odds(latency=1),
        audit=1.0,
        auditors=auditors,
    )


CROWD = audited(HONEST, LIAR, LIAR, HONEST)


def test_a_pool_that_audits_well_keeps_every_promise() -> None:
    live(CROWD)


def test_a_vote_before_the_comparison_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_was_doubted", lambda mine: False)
    with pytest.raises(
        Broken, match=r"may vote on 0x.* before anybody has compared its result"
    ):
        live(CROWD)


def test_an_honest_worker_that_is_found_wrong_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def turned(task: Task) -> Iterator[Conclude]:
        for each in conclusions(task):
            yield Conclude(each.task, each.worker, not each.agreed, each.owner, each.counts)

    conclusions = audit._conclusions
    monkeypatch.setattr(audit, "_conclusions", turned)
    with pytest.raises(Broken, match=r"is honest and was found wrong|lies and was found right"):
        live(CROWD)


def test_evidence_for_who_gave_an_opinion_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def counted(task: Task) -> Iterator[Conclude]:
        for each in conclusions(task):
            yield Conclude(each.task, each.worker, each.agreed, each.owner)

    conclusions = audit._conclusions
    monkeypatch.setattr(audit, "_conclusions", counted)
    with pytest.raises(Broken, match=r"is believed more for a second opinion"):
        live(audited(HONEST, HONEST, HONEST, HONEST, auditors=0))


def test_a_second_opinion_that_nobody_is_asked_for_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tallystick.lifecycle.agenda.wants_opinion", lambda task, now: False)
    with pytest.raises(Broken, match=r"lacks people, and worker 1 asks for work in vain"):
        live(audited(HONEST, LIAR, LIAR, HONEST, seed=4))


def test_a_right_result_that_nobody_may_vote_for_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(audit, "_electors", lambda task, now: iter(()))
    with pytest.raises(Broken, match=r"is right on 0x.*, and nobody may vote"):
        live(CROWD)


def test_a_copied_vote_does_not_cost_the_pool_its_stake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever copies a vote loses its own stake, and whoever computed it is paid."""
    copycat = Machine(character=Character.COPYCAT, score=15)
    sought = replace(
        audited(Machine(score=15), copycat, auditors=0, seed=12), purchases=(BOUGHT,)
    )
    world = live(sought)
    ended = [task.status for task in world.chain.ledger.tasks.values()]
    assert ended == [ChainStatus.COMPLETED] * 3
    monkeypatch.setattr(agenda, "is_refuted", taken_at_its_word)
    monkeypatch.setattr(audit, "is_refuted", taken_at_its_word)
    with pytest.raises(Broken, match=r"the result of worker 1 on 0x.* was wasted"):
        live(sought)


def taken_at_its_word(task: Task) -> bool:
    """As if a copied vote spoke against all that it agrees with."""
    return any(r.refuted for r in task.winners)
