"""The ledger by itself: any pool may play on it, and no money is ever made or lost.

That it is the contracts' equal is shown beside the contracts themselves.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from poco_hub import (
    FALSE,
    OWNER,
    REQUESTER,
    RICH,
    SCHEDULER,
    TRUE,
    WORKERS,
    Market,
)

from tallystick.poco.escrow import Revert
from tallystick.poco.ledger import ChainStatus, Vote
from tallystick.poco.rewards import KITTY
from tallystick.poco.values import Address, Digest, TaskId


def test_a_task_from_orders_to_pay():
    market = Market()
    task = market.task()
    market.events.clear()
    market.contribute(WORKERS[0], task, TRUE)
    assert market.names() == ["Transfer", "Lock", "TaskContribute", "TaskConsensus"]
    market.ledger.reveal(WORKERS[0], task, TRUE, now=market.now)
    market.ledger.finalize(SCHEDULER, task, results=b"link", now=market.now)
    assert market.ledger.tasks[task].status is ChainStatus.COMPLETED
    balance = market.ledger.escrow.balance
    assert balance(WORKERS[0]) == RICH + 990
    assert balance(SCHEDULER) == RICH + 10
    assert balance(OWNER) == RICH + 10
    assert balance(REQUESTER) == RICH - 1_010
    market.check_money()


def test_a_refused_call_changes_nothing_and_says_why():
    market = Market()
    task = market.task()
    before = list(market.events)
    with pytest.raises(Revert, match="There is no task"):
        market.ledger.reveal(WORKERS[0], TaskId(bytes(32)), TRUE, now=market.now)
    with pytest.raises(Revert, match="may still be computed"):
        market.ledger.claim(task, now=market.now)
    with pytest.raises(Revert, match="has no task 7"):
        market.ledger.initialize(market.ledger.tasks[task].deal.id, 7)
    assert market.events == before


def test_a_failed_task_feeds_the_kitty():
    market = Market()
    task = market.task()
    market.now += 3_000
    market.ledger.claim(task, now=market.now)
    assert market.ledger.escrow.stake(KITTY) == 300
    assert market.names()[-6:] == [
        *("Transfer", "Unlock", "Seize", "Reward", "Lock", "TaskClaimed")
    ]
    market.check_money()


moves = st.tuples(
    st.sampled_from(["vote", "vote", "vote", "reveal", "reveal", "finalize", "reopen", "wait"]),
    st.sampled_from(WORKERS),
    st.sampled_from([TRUE, TRUE, FALSE]),
)


@given(
    trust=st.integers(0, 5),
    price=st.sampled_from([0, 3, 7, 1_000, 10**9 + 7]),
    played=st.lists(moves, min_size=5, max_size=40),
)
def test_whatever_is_played_money_is_neither_made_nor_lost(
    trust: int, price: int, played: list[tuple[str, Address, Digest]]
):
    market = Market()
    task = market.task(trust=trust, price=price)
    for move, worker, digest in played:
        before = len(market.events)
        try:
            play(market, task, move, worker, digest)
        except Revert:
            assert len(market.events) == before
        market.check_money()
    finish(market, task)


def play(market: Market, task: TaskId, move: str, worker: Address, digest: Digest) -> None:
    market.now += 1
    match move:
        case "vote":
            market.contribute(worker, task, digest)
        case "reveal":
            market.ledger.reveal(worker, task, digest, now=market.now)
        case "finalize":
            market.ledger.finalize(SCHEDULER, task, now=market.now)
        case "reopen":
            market.ledger.reopen(SCHEDULER, task, now=market.now)
        case _:
            market.now += 400


def finish(market: Market, task: TaskId) -> None:
    """After the end nothing of the task is locked any more, and everybody knows how it went."""
    found = market.ledger.tasks[task]
    if found.status in (ChainStatus.ACTIVE, ChainStatus.REVEALING):
        market.ledger.claim(task, now=max(market.now, found.deal.final_deadline))
    market.check_money()
    locked = {who for who, amount in market.ledger.escrow.locked.items() if amount}
    assert locked <= {KITTY}
    if found.status is ChainStatus.COMPLETED and len(found.contributions) > 1:
        proved = {w for w, c in found.contributions.items() if c.status is Vote.PROVED}
        assert {w for w, score in market.ledger.scores.items() if score} == proved
