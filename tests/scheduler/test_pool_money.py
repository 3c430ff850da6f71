"""The formulas of a pool's money, against the examples that were run on the real contracts."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tallystick.poco.rewards import scheduler_stake
from tallystick.scheduler.money import (
    DealMoney,
    TaskMoney,
    cost,
    fewest_winners,
    gas_of_scheduler,
    outlook,
    policy_mistake,
    reward_of_scheduler,
    shares,
    stake_for,
    tasks_covered,
    total,
)

PRICE = 10_000_000_007
"""nRLC: that of the examples."""
GWEI = 10**9


@pytest.mark.parametrize(
    ("trust", "winners"),
    [(0, 1), (1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (8, 3), (9, 4), (16, 4), (1000, 10)],
)
def test_how_many_newcomers_reach_a_trust(trust: int, winners: int) -> None:
    """With nobody dissenting, the product of their weights (2 each) must reach the trust."""
    assert fewest_winners(trust) == winners


@pytest.mark.parametrize(("trust", "kept"), [(1, 100_000_001), (5, 100_000_001)])
def test_what_stays_with_the_scheduler_of_the_examples(trust: int, kept: int) -> None:
    assert reward_of_scheduler(PRICE, trust=trust, ratio=1) == kept
    assert scheduler_stake(PRICE) == 3_000_000_002


def test_rounding_leaves_the_rest_to_the_scheduler() -> None:
    assert reward_of_scheduler(10, trust=5, ratio=0) == 1  # 10 // 3 for each of three
    assert reward_of_scheduler(1, trust=1, ratio=1) == 1  # 1 * 99 // 100 is nothing
    assert reward_of_scheduler(PRICE, trust=1, ratio=100) == PRICE


def test_the_gas_of_a_task_is_that_of_the_measured_calls() -> None:
    assert gas_of_scheduler(1) == 222_300 + 297_400
    assert gas_of_scheduler(5) == 222_300 + 462_000


def test_gas_in_rlc_is_rounded_up() -> None:
    assert cost(10**18, Decimal(1)) == 10**9
    assert cost(1, Decimal(1)) == 1
    assert cost(0, Decimal("0.0005")) == 0


def test_an_order_pays_when_its_reward_is_worth_more_than_its_gas() -> None:
    rate = Decimal("0.0005")
    gas = gas_of_scheduler(1) * GWEI  # 519,700 gwei are 1.0394 RLC at this rate
    assert cost(gas, rate) == 1_039_400_000
    at = {"trust": 1, "ratio": 1, "gas_price": GWEI, "eth_per_rlc": rate}
    assert outlook(103_940_000_000, **at).profit == 0
    assert not outlook(103_940_000_000, **at).loses
    poor = outlook(103_939_999_800, **at)
    assert poor.profit == -2
    assert poor.loses


def test_without_a_price_of_rlc_nothing_is_said_to_lose() -> None:
    found = outlook(1, trust=1, ratio=1, gas_price=100 * GWEI, eth_per_rlc=None)
    assert found.profit is None
    assert not found.loses


def test_where_gas_is_free_every_order_pays() -> None:
    found = outlook(0, trust=9, ratio=0, gas_price=0, eth_per_rlc=Decimal(1))
    assert found.profit == 0
    assert not found.loses


def test_how_far_a_deposit_goes() -> None:
    assert stake_for(PRICE, 3) == 9_000_000_006
    assert tasks_covered(9_000_000_006, PRICE) == 3
    assert tasks_covered(9_000_000_005, PRICE) == 2
    assert tasks_covered(0, PRICE) == 0
    assert tasks_covered(0, 3) is None, "30 % of 3 nRLC is nothing: such deals lock no stake"


def test_what_a_policy_means() -> None:
    found = shares(PRICE, stake_ratio=50, reward_ratio=10)
    assert found.worker_stake == 5_000_000_003
    assert (found.workers, found.scheduler) == (9_000_000_006, 1_000_000_001)
    assert found.scheduler_stake == 3_000_000_002


def test_policies_that_the_contract_refuses() -> None:
    assert policy_mistake(30, 1) == ""
    assert policy_mistake(250, 100) == ""
    assert "0 to 100" in policy_mistake(30, 101)
    assert "0 to 100" in policy_mistake(30, -1)
    assert "0 or more" in policy_mistake(-1, 1)


def test_the_money_of_a_deal_is_the_sum_of_its_tasks() -> None:
    done = TaskMoney(task="a", deal="d", completed=True, reward=100, gas=10**9)
    lost = TaskMoney(task="b", deal="d", completed=False, seized=30, gas=10**9)
    found = total([done, lost])
    assert found == DealMoney(tasks=2, completed=1, reward=100, seized=30, gas=2 * 10**9)
    assert found.profit(None) is None
    assert found.profit(Decimal(1)) == 100 - 30 - 2
