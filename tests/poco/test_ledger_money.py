"""Who is paid what by each way a task can end, to the last nRLC, and what the hub tells of it.

The prices and what becomes of them were measured on the real contracts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from poco_hub import (
    DATA_OWNER,
    FALSE,
    HUB,
    OWNER,
    REQUESTER,
    SCHEDULER,
    TRUE,
    WORKERS,
    Market,
)

from tallystick.poco.clerk import Workerpool
from tallystick.poco.contribution import result_hash
from tallystick.poco.rewards import KITTY
from tallystick.poco.values import Address, TaskId

ANN, BOB, CAT, DAN, EVE, _ = WORKERS
APP_PRICE, DATASET_PRICE, POOL_PRICE = 1_000_000_001, 500_000_003, 10_000_000_007
TASK_PRICE, STAKE = 11_500_000_011, 3_000_000_002
REVEAL_TIME, END = 600, 4_000


def priced(market: Market, *, trust: int = 1, sponsor: Address | None = None) -> TaskId:
    """A task at those prices."""
    orders = market.offers(
        app={"price": APP_PRICE},
        dataset={"price": DATASET_PRICE},
        workerpool={"price": POOL_PRICE, "trust": trust},
        request={"trust": trust},
    )
    return market.ledger.initialize(market.deal(*orders, sponsor=sponsor).id, 0)


def lived(
    market: Market,
    *,
    trust: int = 1,
    liars: Sequence[Address] = (),
    winners: Sequence[Address] = (ANN,),
    silent: Sequence[Address] = (),
) -> TaskId:
    """A task that is voted on, revealed and finalized."""
    task = priced(market, trust=trust)
    for worker in liars:
        market.contribute(worker, task, FALSE)
    for worker in (*winners, *silent):
        market.contribute(worker, task)
    for worker in winners:
        market.reveal(worker, task)
    market.now += REVEAL_TIME if silent else 0
    market.finalize(task)
    return task


def reopened(market: Market) -> None:
    task = priced(market)
    market.contribute(ANN, task)
    market.now += REVEAL_TIME
    market.reopen(task)
    market.contribute(BOB, task)
    market.reveal(BOB, task)
    market.finalize(task)


def claimed(market: Market) -> None:
    task = priced(market, trust=3)
    market.contribute(ANN, task, FALSE)
    for worker in (BOB, CAT, DAN):
        market.contribute(worker, task)
    market.reveal(BOB, task)
    market.now = END
    market.claim(task)


def after_a_claim(market: Market) -> None:
    market.escrow.deposit(SCHEDULER, STAKE)
    market.ledger.claim(priced(market), now=END)
    lived(market)


def experienced(market: Market) -> None:
    market.ledger.scores[ANN] = 30
    lived(market, trust=18, winners=(ANN, BOB))


def shortcut(market: Market) -> None:
    market.shortcut(ANN, priced(market))


@pytest.mark.parametrize(
    ("life", "scheduler", "workers", "sold"),
    [
        (lived, 100_000_001, [9_900_000_006], True),
        (shortcut, 100_000_001, [9_900_000_006], True),
        (
            lambda m: lived(m, trust=5, winners=(ANN, BOB, CAT)),
            *(100_000_001, [3_300_000_002] * 3, True),
        ),
        (
            lambda m: lived(m, trust=5, liars=(EVE,), winners=WORKERS[:4]),
            *(130_000_001, [3_217_500_002] * 4 + [-STAKE], True),
        ),
        (
            lambda m: lived(m, trust=5, winners=(ANN, BOB), silent=(CAT,)),
            *(130_000_001, [6_435_000_004] * 2 + [-STAKE], True),
        ),
        (reopened, 130_000_001, [-STAKE, 12_870_000_008], True),
        (experienced, 100_000_002, [7_425_000_004, 2_475_000_001], True),
        (after_a_claim, 1_100_000_001, [9_900_000_006], True),
        (claimed, -STAKE, [], False),
    ],
)
def test_who_wins_and_who_loses(
    life: Callable[[Market], object], scheduler: int, workers: list[int], sold: bool
):
    market = Market()
    life(market)
    assert market.net(SCHEDULER) == scheduler
    assert [market.net(worker) for worker in WORKERS] == workers + [0] * (6 - len(workers))
    assert market.net(OWNER) == sold * APP_PRICE
    assert market.net(DATA_OWNER) == sold * DATASET_PRICE
    assert market.net(REQUESTER) == sold * -TASK_PRICE
    locked = {who for who, amount in market.escrow.locked.items() if amount}
    assert locked <= {KITTY}
    market.check_money()


def test_a_claim_refunds_the_sponsor():
    market = Market()
    task = priced(market, sponsor=EVE)
    market.ledger.claim(task, now=END)
    assert (market.net(EVE), market.net(REQUESTER), market.net(SCHEDULER)) == (0, 0, -STAKE)
    task = priced(market, sponsor=EVE)
    market.shortcut(ANN, task)
    assert (market.net(EVE), market.net(REQUESTER)) == (-TASK_PRICE, 0)


def test_the_schedulers_share_is_the_pools_policy():
    market = Market()
    market.clerk.registries.workerpools.update(
        {pool: Workerpool(SCHEDULER, 30, 25) for pool in market.clerk.registries.workerpools}
    )
    market.shortcut(ANN, priced(market))
    lived(market, winners=(BOB,))
    assert market.net(ANN) == market.net(BOB) == 7_500_000_005
    assert market.net(SCHEDULER) == 2 * 2_500_000_002


def test_reputation_follows_replicated_results_alone():
    market = Market()
    market.ledger.scores[CAT] = 10
    lived(market)
    shortcut(market)
    assert market.ledger.scores == {CAT: 10, ANN: 0}
    assert "AccurateContribution" not in market.names()
    lived(market, trust=3, liars=(CAT,), winners=(ANN, BOB, EVE))
    assert market.ledger.scores == {CAT: 6, ANN: 1, BOB: 1, EVE: 1}
    market.events.clear()
    lived(market, trust=3, winners=(ANN, BOB))
    assert market.names().count("AccurateContribution") == 2


# What the hub tells of it


def paid(account: Address, amount: int, task: TaskId) -> list[object]:
    return [("Transfer", (HUB, account, amount)), ("Reward", (account, amount, task))]


def freed(account: Address, amount: int) -> list[object]:
    return [("Transfer", (HUB, account, amount)), ("Unlock", (account, amount))]


def sales(task: TaskId) -> list[object]:
    return [
        ("Seize", (REQUESTER, TASK_PRICE, task)),
        *paid(OWNER, APP_PRICE, task),
        *paid(DATA_OWNER, DATASET_PRICE, task),
        *freed(SCHEDULER, STAKE),
    ]


def test_what_is_told_of_a_finalized_task():
    market = Market()
    task = priced(market, trust=3)
    market.contribute(ANN, task, FALSE)
    for worker in (BOB, CAT, DAN):
        market.contribute(worker, task)
    for worker in (BOB, CAT, DAN):
        market.reveal(worker, task)
    market.events.clear()
    market.finalize(task, results=b"link")
    assert market.events == [
        *sales(task),
        ("Seize", (ANN, STAKE, task)),
        ("FaultyContribution", (ANN, task)),
        *(
            event
            for worker in (BOB, CAT, DAN)
            for event in (
                *freed(worker, STAKE),
                *paid(worker, 4_290_000_002, task),
                ("AccurateContribution", (worker, task)),
            )
        ),
        *paid(SCHEDULER, 130_000_003, task),
        ("TaskFinalize", (task, b"link")),
    ]


def test_what_is_told_of_a_shortcut_that_finds_a_kitty():
    market = Market()
    market.ledger.claim(priced(market), now=END)
    task = priced(market)
    market.events.clear()
    market.shortcut(ANN, task)
    assert market.events == [
        *sales(task),
        ("Seize", (KITTY, 10**9, task)),
        *paid(SCHEDULER, 10**9, task),
        *paid(ANN, 9_900_000_006, task),
        *paid(SCHEDULER, 100_000_001, task),
        ("TaskContribute", (task, ANN, result_hash(task, TRUE))),
        ("TaskConsensus", (task, result_hash(task, TRUE))),
        ("TaskReveal", (task, ANN, TRUE)),
        ("TaskFinalize", (task, b"")),
    ]
    assert market.escrow.stake(KITTY) == STAKE - 10**9


def test_what_is_told_of_a_task_alone_and_of_free_assets():
    market = Market()
    task = market.task(app_price=0)
    market.contribute(ANN, task)
    market.reveal(ANN, task)
    market.events.clear()
    market.finalize(task)
    assert market.events == [
        ("Seize", (REQUESTER, 1_000, task)),
        *freed(SCHEDULER, 300),
        *(*freed(ANN, 300), *paid(ANN, 990, task)),
        *paid(SCHEDULER, 10, task),
        ("TaskFinalize", (task, b"")),
    ]
    market = Market()
    cheap = market.task(app_price=1, price=0)
    market.events.clear()
    market.shortcut(ANN, cheap)
    assert ("Reward", (OWNER, 1, cheap)) in market.events


def test_what_is_told_of_a_claim():
    market = Market()
    task = priced(market, trust=3)
    market.contribute(BOB, task, FALSE)
    market.contribute(ANN, task)
    market.events.clear()
    market.ledger.claim(task, now=END)
    assert market.events == [
        *freed(REQUESTER, TASK_PRICE),
        ("Seize", (SCHEDULER, STAKE, task)),
        *(("Reward", (KITTY, STAKE, task)), ("Lock", (KITTY, STAKE))),
        *(*freed(BOB, STAKE), *freed(ANN, STAKE)),
        ("TaskClaimed", (task,)),
    ]
    assert market.ledger.scores == {}
