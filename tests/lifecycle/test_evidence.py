"""What audits teach, in figures."""

from __future__ import annotations

import pytest

from tallystick.lifecycle.evidence import Belief, Evidence, Policy, Register

STRANGER, GOOD, CAUGHT = Evidence(), Evidence(agreed=95), Evidence(agreed=95, differed=1)


@pytest.mark.parametrize(
    ("seen", "doubt"), [(STRANGER, 1 / 5), (GOOD, 1 / 100), (Evidence(2, 3), 4 / 10)]
)
def test_doubt_is_the_mean_of_what_is_left(seen: Evidence, doubt: float) -> None:
    assert seen.doubt == pytest.approx(doubt)


@pytest.mark.parametrize(
    ("worker", "owner", "draw", "belief"),
    [
        (STRANGER, STRANGER, 0.99, Belief.AUDIT),
        (Evidence(agreed=94), GOOD, 0.99, Belief.AUDIT),
        (GOOD, STRANGER, 0.99, Belief.ACCEPT),
        (GOOD, GOOD, 0.1, Belief.ACCEPT),
        (GOOD, GOOD, 0.0999, Belief.AUDIT),
        (CAUGHT, GOOD, 0.99, Belief.REFUSE),
        (GOOD, CAUGHT, 0.99, Belief.REFUSE),
    ],
)
def test_what_is_done_with_a_result(
    worker: Evidence, owner: Evidence, draw: float, belief: Belief
) -> None:
    assert Policy(share=0.1).decide(worker, owner, draw) is belief


def test_the_price_of_trust() -> None:
    policy = Policy(share=0.2)
    assert policy.probation == 95
    assert Policy(share=0.2, trust=5).probation == 0
    assert Policy(share=0.2, trust=1).probation == 0
    assert policy.before_caught == pytest.approx(4)
    assert policy.wrong_under_churn(0.5) == pytest.approx(0.5 * 4 / (95 + 4 + 1))
    never = Policy(share=0)
    assert never.before_caught == float("inf")
    assert never.wrong_under_churn(0.5) == 0.5


@pytest.mark.parametrize("share", [0, 1])
def test_a_share_may_be_none_or_all(share: float) -> None:
    assert Policy(share=share, trust=1).share == share


@pytest.mark.parametrize(("share", "trust"), [(-0.01, 1), (1.01, 1), (0.5, 0)])
def test_what_is_no_policy(share: float, trust: int) -> None:
    with pytest.raises(ValueError, match=r"a share between 0 and 1|at least 1"):
        Policy(share=share, trust=trust)


def test_what_is_learned_of_a_worker_counts_for_its_owner() -> None:
    register = Register()
    register.learn("a", "them", agreed=True)
    register.learn("b", "them", agreed=False)
    register.learn("c", agreed=True)
    assert register.of("a", "them") == (Evidence(1, 0), Evidence(1, 1))
    assert register.of("b", "them") == (Evidence(0, 1), Evidence(1, 1))
    assert register.of("c") == (Evidence(1, 0), Evidence(1, 0))
    assert register.of("a") == (Evidence(1, 0), Evidence())
    register.learn("b", "them", agreed=False)
    assert register.of("b", "them") == (Evidence(0, 2), Evidence(1, 2))
