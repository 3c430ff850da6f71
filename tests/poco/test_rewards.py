"""Every nRLC of a pot has an owner, and reputation follows the result."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.poco.contribution import weight
from tallystick.poco.rewards import (
    kitty_part,
    payout,
    scheduler_stake,
    score_after_fault,
    score_after_success,
    share,
    solo_payout,
    worker_stake,
)
from tallystick.poco.values import Address

WORKERS = [Address(bytes([n]) * 20) for n in range(1, 9)]


@given(
    price=st.integers(0, 10**18),
    shares=st.dictionaries(st.sampled_from(WORKERS), st.integers(1, 8), min_size=1),
    lost=st.integers(0, 10**18),
    ratio=st.integers(0, 100),
)
def test_the_pot_is_divided_without_rest(price: int, shares: dict, lost: int, ratio: int):
    paid = payout(price, shares=shares, lost_stakes=lost, scheduler_ratio=ratio)
    assert sum(paid.workers.values()) + paid.scheduler == price + lost
    assert paid.scheduler >= (price + lost) * ratio // 100
    assert min(paid.workers.values()) >= 0


@given(price=st.integers(0, 10**18), ratio=st.integers(0, 100))
def test_one_worker_alone_is_paid_as_one_of_one(price: int, ratio: int):
    alone = solo_payout(price, WORKERS[0], scheduler_ratio=ratio)
    shared = payout(price, shares={WORKERS[0]: 1}, lost_stakes=0, scheduler_ratio=ratio)
    assert alone == shared


@pytest.mark.parametrize(
    ("price", "stake"), [(0, 0), (3, 0), (4, 1), (10_000_000_007, 3_000_000_002)]
)
def test_small_prices_need_no_stake(price: int, stake: int):
    assert scheduler_stake(price) == worker_stake(price, 30) == stake


@pytest.mark.parametrize(
    ("kitty", "part"),
    [
        (0, 0),
        (1, 1),
        (10**9, 10**9),
        (3_000_000_002, 10**9),
        (10**10 + 9, 10**9),
        (10**11, 10**10),
    ],
)
def test_the_kitty_gives_a_tenth_but_one_rlc_at_least(kitty: int, part: int):
    assert kitty_part(kitty) == part


@pytest.mark.parametrize(
    ("score", "parts"), [(0, 1), (11, 1), (12, 1), (15, 2), (30, 3), (300, 6)]
)
def test_a_share_is_the_logarithm_of_the_weight(score: int, parts: int):
    assert share(weight(score)) == parts


def test_reputation():
    assert score_after_success(4, contributors=1) == 4
    assert score_after_success(4, contributors=2) == 5
    assert [score_after_fault(score) for score in (0, 1, 2, 3, 10)] == [0, 0, 1, 2, 6]


def test_a_pot_of_known_size():
    shares = {WORKERS[0]: 1, WORKERS[1]: 3}
    paid = payout(1_000, shares=shares, lost_stakes=203, scheduler_ratio=10)
    assert dict(paid.workers) == {WORKERS[0]: 270, WORKERS[1]: 811}
    assert paid.scheduler == 122
