"""Money on the hub, movement by movement: what is booked, what is told, what is refused."""

from collections.abc import Callable
from typing import Any

import pytest

from tallystick.poco.escrow import TOO_POOR, Escrow, Event, Revert, require
from tallystick.poco.rewards import KITTY
from tallystick.poco.values import ZERO_ADDRESS, Address, TaskId

HUB, ME, YOU = (Address(bytes([n]) * 20) for n in (0xC, 1, 2))
TASK = TaskId(b"\7" * 32)


def filled() -> tuple[Escrow, list[Event]]:
    """An escrow where I have 100 and you have 50."""
    told: list[Event] = []
    escrow = Escrow(told.append, HUB)
    escrow.deposit(ME, 100)
    escrow.deposit(YOU, 50)
    return escrow, told


def test_a_deposit_is_new_money():
    escrow, told = filled()
    assert (escrow.balances, escrow.locked, escrow.supply) == ({ME: 100, YOU: 50}, {}, 150)
    assert told == [
        ("Transfer", (ZERO_ADDRESS, ME, 100)),
        ("Transfer", (ZERO_ADDRESS, YOU, 50)),
    ]
    assert (escrow.balance(HUB), escrow.stake(ME)) == (0, 0)


MOVES: list[tuple[Callable[[Escrow], None], list[Any], tuple[int, int, int], dict, int]] = [
    (
        lambda e: e.withdraw(ME, 100),
        [("Transfer", (ME, ZERO_ADDRESS, 100))],
        (0, 50, 0),
        {},
        50,
    ),
    (
        lambda e: e.transfer(ME, YOU, 100),
        [("Transfer", (ME, YOU, 100))],
        (0, 150, 0),
        {},
        150,
    ),
    (
        lambda e: e.lock((ME, 60), (YOU, 50), (ME, 40)),
        [
            *(("Transfer", (ME, HUB, 60)), ("Lock", (ME, 60))),
            *(("Transfer", (YOU, HUB, 50)), ("Lock", (YOU, 50))),
            *(("Transfer", (ME, HUB, 40)), ("Lock", (ME, 40))),
        ],
        (0, 0, 150),
        {ME: 100, YOU: 50},
        150,
    ),
]


@pytest.mark.parametrize(("act", "told", "balances", "locked", "supply"), MOVES)
def test_money_moves_down_to_the_last_nrlc(
    act: Callable[[Escrow], None], told: list[Any], balances: Any, locked: dict, supply: int
):
    escrow, heard = filled()
    heard.clear()
    act(escrow)
    assert heard == told
    assert tuple(escrow.balance(account) for account in (ME, YOU, HUB)) == balances
    assert escrow.locked == locked
    assert escrow.supply == supply


def test_what_is_locked_is_given_back_or_handed_out():
    escrow, told = filled()
    escrow.lock((ME, 60), (YOU, 20))
    told.clear()
    escrow.unlock(ME, 25)
    escrow.seize(YOU, 20, TASK)
    escrow.reward(ME, 13, TASK)
    escrow.feed_kitty(4, TASK)
    escrow.feed_kitty(3, TASK)
    assert told == [
        *(("Transfer", (HUB, ME, 25)), ("Unlock", (ME, 25))),
        ("Seize", (YOU, 20, TASK)),
        *(("Transfer", (HUB, ME, 13)), ("Reward", (ME, 13, TASK))),
        *(("Reward", (KITTY, 4, TASK)), ("Lock", (KITTY, 4))),
        *(("Reward", (KITTY, 3, TASK)), ("Lock", (KITTY, 3))),
    ]
    assert escrow.locked == {ME: 35, YOU: 0, KITTY: 7}
    assert escrow.balances == {ME: 78, YOU: 30, HUB: 42}
    assert escrow.supply == 150 == sum(escrow.balances.values())


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (lambda e: e.deposit(ZERO_ADDRESS, 1), "ERC20: mint to the zero address"),
        (lambda e: e.withdraw(ME, 101), ""),
        (lambda e: e.transfer(ME, YOU, 101), ""),
        (lambda e: e.transfer(ME, ZERO_ADDRESS, 1), "ERC20: transfer to the zero address"),
        (lambda e: e.lock((ME, 101)), TOO_POOR),
        (lambda e: e.lock((YOU, 1), (ME, 60), (ME, 41)), TOO_POOR),
        (lambda e: e.lock((YOU, 1), (ME, 101)), TOO_POOR),
        (lambda e: e.lock((ZERO_ADDRESS, 0)), "IexecEscrow: Transfer from empty address"),
    ],
)
def test_a_movement_that_is_refused_moves_nothing(act: Callable[[Escrow], None], reason: str):
    escrow, told = filled()
    with pytest.raises(Revert, match=r"\.$") as refusal:
        act(escrow)
    assert refusal.value.reason == reason
    assert (escrow.balances, escrow.locked, escrow.supply) == ({ME: 100, YOU: 50}, {}, 150)
    assert len(told) == 2


def test_most_calls_revert_without_a_reason():
    require(True, "Not said.", "nor this")
    with pytest.raises(Revert, match=r"^A sentence\.$") as refusal:
        require(False, "A sentence.")
    assert (refusal.value.reason, Revert("Another.").reason) == ("", "")
    with pytest.raises(Revert) as refusal:
        require(False, "A sentence.", "a reason")
    assert refusal.value.reason == "a reason"
