"""What crooks and copycats send is refused, and it would be seen if it were not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest

from tallystick.poco.ledger import Ledger
from tallystick.poco.values import TaskId
from tallystick.sim.invariants import Broken
from tallystick.sim.odds import Character, Machine, Plan, Purchase
from tallystick.sim.scenarios import live
from tallystick.sim.world import World

CROOK, COPYCAT = Machine(character=Character.CROOK), Machine(character=Character.COPYCAT)


def plan(*rogues: Machine, seed: int = 1) -> Plan:
    return Plan(
        seed=seed,
        purchases=(
            Purchase(at=1, time_unit=60, trust=5, lots=(2,)),
            Purchase(at=40, time_unit=60, trust=1, lots=(1,)),
        ),
        machines=(Machine(), *rogues, Machine(), Machine()),
    )


def live_through(plans: Iterable[Plan]) -> None:
    for each in plans:
        live(each)


def refused(world: World) -> Counter[str]:
    return Counter(each.sent.call.attack for each in world.chain.refusals)


def test_every_kind_of_attack_is_tried_and_refused() -> None:
    tried = Counter[str]()
    for seed in range(4):
        tried += refused(live(plan(CROOK, CROOK, COPYCAT, seed=seed)))
    assert tried.keys() >= {
        "votes twice",
        "votes without an authorization",
        "votes with another's authorization",
        "votes with an old authorization",
        "finishes what others have a say in",
        "opens a task again",
        "finalizes another's task",
        "reopens another's task",
        "claims too early",
        "reveals another's digest",
        "reveals what it copied",
    }


def test_an_attack_that_succeeds_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tallystick.poco.ledger.signed_by", lambda *_: True)
    with pytest.raises(Broken, match=r"attack='votes with.* was not refused"):
        live_through(plan(CROOK, CROOK, seed=seed) for seed in range(6))


def test_a_claim_before_its_time_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def at_any_time(ledger: Ledger, task: TaskId, *, now: int) -> None:
        claim(ledger, task, now=10**6)

    claim = Ledger.claim
    monkeypatch.setattr(Ledger, "claim", at_any_time)
    with pytest.raises(Broken, match=r"attack='claims too early'. was not refused"):
        live(plan(CROOK, CROOK, CROOK))
