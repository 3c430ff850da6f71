"""Cheats and the rules against them: the figures of the verification page, and its formulas."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.lifecycle import audit
from tallystick.lifecycle.evidence import Belief, Evidence, Policy, Register
from tallystick.scheduler.audits import Audits
from tallystick.sim import trial
from tallystick.sim.cheats import Cheat, Crowd, observe
from tallystick.sim.rules import RULES, Audited

STEADY = {"warm_up": 100_000, "tasks": 10_000}
"""500 tasks a worker before anything is counted: PoCo's scores are high by then."""


def test_audits_keep_patient_cheats_out_where_scores_let_them_through():
    """A fifth of the workers waits until its word counts alone."""
    crowd = Crowd(kind=Cheat.PATIENT)
    poco = observe(crowd, RULES["PoCo, trust 100"], **STEADY, seed=1)
    ours = observe(crowd, RULES["audit 5 %"], **STEADY, seed=1)
    assert poco.per_task == pytest.approx(1.0, abs=0.02)
    assert 0.17 < poco.wrong_share < 0.23
    assert ours.wrong_share <= 0.005
    assert ours.per_task <= 1.10


def ignores_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    everybody_is_good = Evidence(agreed=10_000)
    monkeypatch.setattr(Audits, "evidence", lambda *_: (everybody_is_good, everybody_is_good))


def accepts_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Policy, "decide", lambda *_, **__: Belief.ACCEPT)


def compares_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_right", lambda task: None)


def asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """And does not wait for a second opinion either."""
    monkeypatch.setattr(trial, "wants_opinion", lambda *_: False)
    monkeypatch.setattr(audit, "waited_enough", lambda *_: True)


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (ignores_evidence, Cheat.PATIENT),
        (accepts_everything, Cheat.HASTY),
        (compares_nothing, Cheat.HASTY),
        (asks_nobody, Cheat.HASTY),
    ],
)
def test_it_is_the_shipped_policy_that_is_simulated(
    spoil: Callable[[pytest.MonkeyPatch], None], kind: Cheat, monkeypatch: pytest.MonkeyPatch
):
    """What schedulers and the lifecycle decide by: spoiled, it lets the cheats through."""
    crowd = Crowd(workers=20, kind=kind)
    look = partial(observe, crowd, RULES["audit 5 %"], warm_up=6_000, tasks=2_000, seed=5)
    assert look().wrong_share <= 0.005
    spoil(monkeypatch)
    assert look().wrong_share > 0.1


def test_who_comes_back_as_a_stranger_costs_what_the_formula_says():
    crowd = Crowd(workers=25, kind=Cheat.PATIENT, returns=True)
    for share in (0.05, 0.2):
        policy = Policy(share)
        found = observe(crowd, partial(Audited, policy), warm_up=8_000, tasks=32_000, seed=2)
        assert found.wrong_share == pytest.approx(policy.wrong_under_churn(0.2), rel=0.35)


def test_a_cheat_gets_as_many_through_as_the_formula_says():
    policy = Policy(0.1)
    crowd = Crowd(workers=400, cheats=0.5, kind=Cheat.PATIENT)
    found = observe(crowd, partial(Audited, policy), warm_up=0, tasks=60_000, seed=3)
    assert found.caught == 200
    assert found.wrong / found.caught == pytest.approx(policy.before_caught, rel=0.2)


def test_a_caught_worker_with_an_authorization_loses_the_task_and_one_without_does_not():
    hasty = partial(Crowd, kind=Cheat.HASTY)
    classic = observe(hasty(classic=1.0), RULES["audit 5 %"], warm_up=0, tasks=5_000, seed=4)
    ours = observe(hasty(), RULES["audit 5 %"], warm_up=0, tasks=5_000, seed=4)
    assert classic.claimed == classic.caught == 40
    assert (ours.claimed, ours.caught) == (0, 40)


def test_the_same_seed_is_the_same_crowd():
    look = partial(observe, Crowd(), RULES["BOINC adaptive"], warm_up=500, tasks=500)
    assert look(seed=7) == look(seed=7)


@given(
    good=st.integers(0, 300),
    draw=st.floats(0, 1, exclude_max=True),
    share=st.floats(0, 1),
    trust=st.integers(1, 1000),
)
def test_nobody_is_believed_before_its_probation_nor_after_a_lie(
    good: int, draw: float, share: float, trust: int
):
    policy, honest = Policy(share, trust), Evidence(agreed=good)
    decision = policy.decide(honest, honest, draw)
    if good < policy.probation:
        assert decision is Belief.AUDIT
    else:
        assert (decision is Belief.AUDIT) == (draw < share)
    liar = honest.after(agreed=False)
    assert policy.decide(liar, honest, draw) is Belief.REFUSE
    assert policy.decide(honest, liar, draw) is Belief.REFUSE  # a friend of a liar


def test_doubt_is_the_mean_of_the_posterior():
    assert Evidence().doubt == 0.2
    assert Evidence(agreed=95).doubt == 0.01
    assert Evidence(agreed=3, differed=1).doubt == 2 / 9
    assert Policy(0.05).probation == 95


def test_an_owner_answers_for_all_its_workers():
    register = Register()
    register.learn("0xa", "owner", agreed=False)
    worker, owner = register.of("0xb", "owner")
    assert (worker.differed, owner.differed) == (0, 1)
    assert Policy(0.05).decide(worker, owner, 0.9) is Belief.REFUSE


@pytest.mark.parametrize(("share", "trust"), [(-0.1, 100), (1.1, 100), (0.1, 0)])
def test_a_policy_that_means_nothing_is_refused(share: float, trust: int):
    with pytest.raises(ValueError, match=r"audit|trust"):
        Policy(share, trust)
