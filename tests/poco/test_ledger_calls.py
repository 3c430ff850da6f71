"""Every call of a task: what it records and tells, and each reason why it is refused.

A deal of these tests begins at 1,000 in category 0: votes until 3,100, the end at 4,000, and
600 seconds to reveal.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from eth_hash.auto import keccak
from poco_hub import (
    BROKER,
    BROKER_KEY,
    ENCLAVE,
    FALSE,
    HUB,
    POOL,
    RICH,
    SCHEDULER,
    STRANGER,
    TRUE,
    WORKERS,
    Market,
)

from tallystick.poco import tags
from tallystick.poco.clerk import OVERFLOW
from tallystick.poco.contribution import Tally, result_hash, result_seal
from tallystick.poco.escrow import TOO_POOR, Revert
from tallystick.poco.ledger import (
    ChainStatus,
    ChainTask,
    Contribution,
    Permit,
    Vote,
    _settles,
)
from tallystick.poco.values import DealId, Digest, Hash, TaskId

ANN, BOB, CAT, DAN, EVE, _ = WORKERS
TEE = tags.tag_of(tags.TEE)
NOWHERE = TaskId(b"\7" * 32)
CONTRIBUTE_UNTIL, END, REVEAL_TIME = 3_100, 4_000, 600
AROUND = [(-1, True), (0, False), (1, False)]
"""Seconds from a deadline, and whether what it ends is still possible."""


def either(
    market: Market, possible: bool, why: str, call: Any, *args: Any, **more: Any
) -> None:
    """The call works, or it is refused with that sentence."""
    if possible:
        call(*args, **more)
    else:
        market.refuses(why, call, *args, **more)


def revealing(*voters: Any, trust: int = 1, **request: Any) -> tuple[Market, TaskId]:
    """A task that these have settled. Nobody has revealed."""
    market = Market()
    task = market.task(trust=trust, **request)
    for voter in voters or (ANN,):
        market.contribute(voter, task)
    assert market.found(task).status is ChainStatus.REVEALING
    market.events.clear()
    return market, task


# Opening


def test_a_task_is_opened_once_by_its_index_in_the_request():
    market = Market()
    app, _, pool, request = market.offers(
        app={"volume": 9}, workerpool={"volume": 2}, request={"volume": 5}
    )
    market.deal(app, market.offers()[1], pool, request)
    again = market.signed(replace(pool, salt=Hash(b"2" * 32)))
    deal = market.deal(app, market.offers()[1], again, request)
    assert list(deal.indices) == [2, 3]
    market.events.clear()
    for index in (1, 4):
        market.refuses(f"no task {index}", market.ledger.initialize, deal.id, index)
    market.refuses("no task 2", market.ledger.initialize, DealId(b"\1" * 32), 2)
    task = market.ledger.initialize(deal.id, 2)
    assert task == deal.task_id(2)
    assert market.ledger.tasks == {task: ChainTask(task, 2, deal)}
    assert market.events == [("TaskInitialize", (task, POOL))]
    market.refuses("initialized already", market.ledger.initialize, deal.id, 2)


def test_tasks_are_opened_in_lists_or_not_at_all():
    market = Market()
    volume = {"volume": 3}
    deal = market.deal(*market.offers(app=volume, workerpool=volume, request=volume))
    opened = market.ledger.initialize_array
    market.refuses("one index", opened, [deal.id], [0, 1])
    market.refuses("one index", opened, [deal.id, deal.id], [0])
    market.refuses("named twice", opened, [deal.id, deal.id], [1, 1])
    market.refuses("no task 3", opened, [deal.id, deal.id], [2, 3])
    tasks = opened([deal.id, deal.id], [2, 0])
    assert tasks == list(market.ledger.tasks) == [deal.task_id(2), deal.task_id(0)]


# Votes


def test_a_vote_is_kept_and_the_one_that_settles_opens_the_reveals():
    market = Market()
    task = market.task(trust=5)
    choice, seal = result_hash(task, TRUE), result_seal(ANN, task, TRUE)
    market.ledger.scores[BOB] = 30
    market.events.clear()
    market.contribute(ANN, task)
    found = market.found(task)
    first = Contribution(Vote.CONTRIBUTED, choice, seal, share=1)
    assert found == ChainTask(
        task, 0, found.deal, tally=Tally({choice: 2}), contributions={ANN: first}
    )
    assert market.events == [
        *(("Transfer", (ANN, HUB, 300)), ("Lock", (ANN, 300))),
        ("TaskContribute", (task, ANN, choice)),
    ]
    market.now = 1_234
    market.contribute(BOB, task)
    assert found.contributions == {
        ANN: first,
        BOB: Contribution(Vote.CONTRIBUTED, choice, result_seal(BOB, task, TRUE), share=3),
    }
    assert (found.status, found.consensus) == (ChainStatus.REVEALING, choice)
    assert (found.reveal_deadline, found.tally) == (1_234 + REVEAL_TIME, Tally({choice: 18}))
    assert market.events[-2:] == [
        ("TaskContribute", (task, BOB, choice)),
        ("TaskConsensus", (task, choice)),
    ]
    market.refuses("is REVEALING", market.contribute, CAT, task)


@pytest.mark.parametrize("shortcut", [False, True])
@pytest.mark.parametrize(("away", "possible"), AROUND)
def test_votes_end_at_the_deadline(away: int, possible: bool, shortcut: bool):
    market = Market()
    task = market.task()
    market.now = CONTRIBUTE_UNTIL + away
    call = market.shortcut if shortcut else market.contribute
    either(market, possible, "time to contribute is over", call, ANN, task)


def test_a_vote_needs_a_task_and_is_cast_once():
    market = Market()
    task = market.task(trust=9)
    market.refuses("There is no task", market.contribute, ANN, NOWHERE)
    market.contribute(ANN, task)
    market.refuses("already contributed", market.contribute, ANN, task)
    market.refuses("already contributed", market.contribute, ANN, task, FALSE)


def test_a_vote_locks_the_stake_to_the_last_nrlc():
    market = Market()
    task = market.task()
    market.escrow.withdraw(ANN, RICH - 299)
    market.refuses("300 must be locked", market.contribute, ANN, task, reason=TOO_POOR)
    market.escrow.deposit(ANN, 1)
    market.contribute(ANN, task)
    assert (market.escrow.balance(ANN), market.escrow.stake(ANN)) == (0, 300)


@pytest.mark.parametrize("shortcut", [False, True])
def test_the_scheduler_allows_one_worker_one_task(shortcut: bool):
    market = Market()
    task, other = market.task(), market.task()
    call = market.shortcut if shortcut else market.contribute
    for permit in (
        market.permit(BOB, task),
        market.permit(ANN, other),
        market.permit(ANN, task, key=BROKER_KEY),
        replace(market.permit(ANN, task), enclave=ENCLAVE),
        replace(market.vouched(ANN, task), enclave=WORKERS[0]),
        Permit(authorization=bytes(65)),
    ):
        market.refuses("has not authorized", call, ANN, task, permit=permit)
    empty, why = Permit(authorization=b""), "invalid-signature-format"
    market.refuses("65 bytes", call, ANN, task, permit=empty, reason=why)
    call(ANN, task, permit=market.permit(ANN, task))
    assert ANN in market.found(task).contributions


@pytest.mark.parametrize("shortcut", [False, True])
@pytest.mark.parametrize("asked", [False, True])
def test_an_enclave_signs_the_result(asked: bool, shortcut: bool):
    market = Market()
    task = market.task(tag=TEE) if asked else market.task()
    call = market.shortcut if shortcut else market.contribute
    if asked:
        market.refuses("asks for an enclave", call, ANN, task)
    unsigned = replace(market.vouched(ANN, task), enclave_sign=b"")
    why = "invalid-signature-format"
    market.refuses("65 bytes", call, ANN, task, permit=unsigned, reason=why)
    for wrong in (
        market.vouched(ANN, task, enclave_key=BROKER_KEY),
        market.vouched(ANN, task, digest=FALSE),
        replace(market.vouched(ANN, task), enclave_sign=bytes(65)),
    ):
        market.refuses("enclave has not signed", call, ANN, task, permit=wrong)
    call(ANN, task, permit=market.vouched(ANN, task))
    assert market.found(task).contributions[ANN].enclave == ENCLAVE


@pytest.mark.parametrize("shortcut", [False, True])
def test_a_broker_speaks_for_the_scheduler_about_enclaves_alone(shortcut: bool):
    market = Market()
    task, plain = market.task(tag=TEE), market.task()
    call, why = market.shortcut if shortcut else market.contribute, "has not authorized"
    by_broker = market.vouched(ANN, task, key=BROKER_KEY)
    market.refuses(why, call, ANN, task, permit=by_broker)
    market.ledger.tee_broker = BROKER
    market.refuses(why, call, ANN, task, permit=market.vouched(ANN, task))
    call(ANN, task, permit=by_broker)
    wrong = market.permit(ANN, plain, key=BROKER_KEY)
    market.refuses(why, call, ANN, plain, permit=wrong)
    call(ANN, plain, permit=market.permit(ANN, plain))


CHOICE = Hash(b"c" * 32)


@pytest.mark.parametrize(
    ("group", "trust", "settled"),
    [
        (2, 1, True),
        (3, 1 << 254, False),
        (3, (1 << 254) + 1, None),
        ((1 << 255) - 1, 2, True),
        (1 << 255, 2, None),
    ],
)
def test_no_contract_counts_further(group: int, trust: int, settled: bool | None):
    """4 * (trust - 1) and 2 * group reach 2**256 exactly."""
    tally = Tally({CHOICE: group})
    if settled is None:
        with pytest.raises(Revert, match="count votes") as refusal:
            _settles(tally, CHOICE, trust)
        assert refusal.value.reason == OVERFLOW
    else:
        assert _settles(tally, CHOICE, trust) is settled


def test_a_trust_beyond_counting_refuses_every_vote_that_could_be_paid():
    market = Market()
    task = market.task(trust=(1 << 256) - 1)
    market.refuses("count votes", market.contribute, ANN, task, reason=OVERFLOW)
    market.escrow.withdraw(ANN, RICH)
    market.refuses("must be locked", market.contribute, ANN, task, reason=TOO_POOR)


# The shortcut


def test_the_shortcut_is_a_whole_life_in_one_call():
    market = Market()
    task = market.task(trust=0, callback=STRANGER)
    market.now, digest = 1_234, Digest(keccak(b"data"))
    market.events.clear()
    market.shortcut(ANN, task, digest, results=b"link", callback=b"data")
    choice, found = result_hash(task, digest), market.found(task)
    mine = Contribution(Vote.PROVED, choice, result_seal(ANN, task, digest))
    assert found == ChainTask(
        *(task, 0, found.deal, ChainStatus.COMPLETED),
        consensus=choice,
        reveal_deadline=1_234 + REVEAL_TIME,
        contributions={ANN: mine},
        digest=digest,
        results=b"link",
        callback=b"data",
    )
    assert market.events[-4:] == [
        ("TaskContribute", (task, ANN, choice)),
        ("TaskConsensus", (task, choice)),
        ("TaskReveal", (task, ANN, digest)),
        ("TaskFinalize", (task, b"link")),
    ]
    market.refuses("is COMPLETED", market.shortcut, BOB, task, digest, callback=b"data")


def test_the_shortcut_is_for_one_worker_and_trust_one():
    market = Market()
    task = market.task(trust=2)
    market.refuses("trust 2", market.shortcut, ANN, task)
    market.refuses("There is no task", market.shortcut, ANN, NOWHERE)
    market, task = revealing(ANN)
    market.now += REVEAL_TIME
    market.reopen(task)
    market.refuses("Somebody has contributed", market.shortcut, BOB, task)


@pytest.mark.parametrize("wanted", [False, True])
@pytest.mark.parametrize("shortcut", [False, True])
def test_a_callback_must_fit_the_digest(wanted: bool, shortcut: bool):
    market, digest = Market(), Digest(keccak(b"data"))
    task = market.task(**({"callback": STRANGER} if wanted else {}))
    if not shortcut:
        market.contribute(ANN, task, digest)
        market.reveal(ANN, task, digest)
    call, args = (
        (market.shortcut, (ANN, task, digest)) if shortcut else (market.finalize, (task,))
    )
    market.refuses("what the digest was made of", call, *args, callback=b"other")
    if wanted:
        market.refuses("what the digest was made of", call, *args)
    call(*args, callback=b"data")
    assert market.found(task).callback == b"data"


# Reveals


def test_a_winner_shows_its_digest_once():
    market = Market()
    task = market.task(trust=3)
    market.contribute(ANN, task, FALSE)
    market.contribute(BOB, task, seal=result_seal(CAT, task, TRUE))
    market.contribute(CAT, task)
    market.refuses("is ACTIVE", market.reveal, CAT, task)
    market.contribute(DAN, task)
    market.refuses("did not vote for the consensus", market.reveal, ANN, task, FALSE)
    market.refuses("did not vote for the consensus", market.reveal, ANN, task, TRUE)
    market.refuses("did not know the digest", market.reveal, BOB, task)
    market.refuses("not what was voted", market.reveal, CAT, task, FALSE)
    market.refuses("nothing to reveal", market.reveal, EVE, task)
    market.refuses("There is no task", market.reveal, CAT, NOWHERE)
    market.events.clear()
    votes = dict(market.found(task).contributions)
    market.reveal(CAT, task)
    proved = replace(votes[CAT], status=Vote.PROVED)
    assert market.found(task).contributions == {**votes, CAT: proved}
    assert market.found(task).digest == TRUE
    assert market.events == [("TaskReveal", (task, CAT, TRUE))]
    market.refuses("nothing to reveal", market.reveal, CAT, task)


@pytest.mark.parametrize(("away", "possible"), AROUND)
def test_reveals_end_at_the_deadline(away: int, possible: bool):
    market, task = revealing(ANN)
    market.now += REVEAL_TIME + away
    either(market, possible, "time to reveal is over", market.reveal, ANN, task)


# Reopening


def test_reopening_voids_the_votes_for_the_consensus_alone():
    market = Market()
    task = market.task(trust=3)
    for worker, digest in ((ANN, FALSE), (BOB, TRUE), (CAT, TRUE), (DAN, TRUE)):
        market.contribute(worker, task, digest)
    votes = dict(market.found(task).contributions)
    market.now += REVEAL_TIME
    market.events.clear()
    market.reopen(task)
    found = market.found(task)
    rejected = {w: replace(votes[w], status=Vote.REJECTED) for w in (BOB, CAT, DAN)}
    assert found == ChainTask(
        *(task, 0, found.deal),
        tally=Tally({result_hash(task, FALSE): 2}),
        contributions={**votes, **rejected},
    )
    assert market.events == [("TaskReopen", (task,))]
    market.refuses("already contributed", market.contribute, BOB, task, FALSE)
    market.refuses("is ACTIVE", market.reopen, task)
    market.contribute(EVE, task, FALSE)
    assert found.status is ChainStatus.REVEALING
    market.reveal(ANN, task, FALSE)


def test_the_same_result_may_win_again_without_those_who_hid_it():
    market, task = revealing(ANN)
    market.now += REVEAL_TIME
    market.reopen(task)
    market.contribute(BOB, task)
    assert market.found(task).winners(Vote.CONTRIBUTED, Vote.PROVED) == [BOB]
    market.refuses("nothing to reveal", market.reveal, ANN, task)
    market.reveal(BOB, task)
    market.finalize(task)
    assert market.net(ANN) == -300


@pytest.mark.parametrize(("away", "possible"), [(-1, False), (0, True), (1, True)])
def test_reopening_waits_for_the_reveals(away: int, possible: bool):
    market, task = revealing(ANN)
    market.now += REVEAL_TIME + away
    either(market, possible, "Reveals are still possible", market.reopen, task)


@pytest.mark.parametrize(("away", "possible"), AROUND)
def test_reopening_ends_with_the_task(away: int, possible: bool):
    market, task = revealing(ANN)
    market.now = END + away
    either(market, possible, "final deadline is over", market.reopen, task)


def test_only_the_scheduler_reopens_what_nobody_revealed():
    market, task = revealing(ANN, BOB, trust=3)
    market.refuses("There is no task", market.reopen, NOWHERE)
    market.reveal(ANN, task)
    market.now += REVEAL_TIME
    market.refuses("Only", market.reopen, task, sender=ANN)
    market.refuses("Somebody has revealed", market.reopen, task)


# The end


def test_finalizing_keeps_the_result_and_ends_the_task():
    market, task = revealing(ANN)
    market.reveal(ANN, task)
    for sender in (ANN, STRANGER):
        market.refuses("Only", market.finalize, task, sender=sender)
    market.finalize(task, results=b"link")
    found = market.found(task)
    assert (found.status, found.results, found.callback) == (
        ChainStatus.COMPLETED,
        b"link",
        b"",
    )
    assert market.events[-1] == ("TaskFinalize", (task, b"link"))
    market.refuses("is COMPLETED", market.finalize, task)
    market.refuses("There is no task", market.finalize, NOWHERE)
    market.now = END
    market.refuses("is COMPLETED", market.claim, task)


@pytest.mark.parametrize(("away", "possible"), [(-1, False), (0, True), (1, True)])
def test_finalizing_waits_for_the_winner_who_may_reveal(away: int, possible: bool):
    market, task = revealing(ANN, BOB, trust=3)
    market.reveal(ANN, task)
    market.now += REVEAL_TIME + away
    either(market, possible, "may still reveal", market.finalize, task)


def test_finalizing_needs_one_who_revealed():
    market, task = revealing(ANN)
    market.now += REVEAL_TIME
    market.refuses("Nobody has revealed", market.finalize, task)


@pytest.mark.parametrize(("away", "possible"), AROUND)
def test_finalizing_ends_with_the_task(away: int, possible: bool):
    market, task = revealing(ANN)
    market.reveal(ANN, task)
    market.now = END + away
    either(market, possible, "final deadline is over", market.finalize, task)


@pytest.mark.parametrize("voted", [False, True])
@pytest.mark.parametrize(("away", "possible"), [(-1, False), (0, True), (1, True)])
def test_a_task_can_be_given_up_from_its_end_on(away: int, possible: bool, voted: bool):
    market = Market()
    task = market.task()
    if voted:
        market.contribute(ANN, task)
    market.now = END + away
    either(market, possible, "may still be computed", market.claim, task)
    if possible:
        assert market.found(task).status is ChainStatus.FAILED
        market.refuses("is FAILED", market.claim, task)
    market.refuses("There is no task", market.claim, NOWHERE)


def test_tasks_are_given_up_in_lists_or_not_at_all():
    market = Market()
    volume = {"volume": 4}
    deal = market.deal(*market.offers(app=volume, workerpool=volume, request=volume))
    one, two, three, four = (deal.task_id(index) for index in range(4))
    market.ledger.initialize_array([deal.id] * 2, [0, 1])
    claims, opened = market.ledger.claim_array, market.ledger.initialize_and_claim_array
    market.refuses("still be computed", claims, [one, two], now=END - 1)
    market.refuses("still be computed", opened, [deal.id], [2], now=END - 1)
    market.refuses("named twice", claims, [one, one], now=END)
    market.refuses("There is no task", claims, [one, three], now=END)
    market.refuses("named twice", opened, [deal.id] * 2, [2, 2], now=END)
    market.refuses("one index", opened, [deal.id] * 2, [2], now=END)
    market.refuses("initialized already", opened, [deal.id] * 2, [2, 1], now=END)
    claims([two, one], now=END)
    opened([deal.id] * 2, [3, 2], now=END)
    told = [e for e in market.events if e.name in ("TaskInitialize", "TaskClaimed")]
    assert told[2:] == [
        *(("TaskClaimed", (two,)), ("TaskClaimed", (one,))),
        *(("TaskInitialize", (four, POOL)), ("TaskClaimed", (four,))),
        *(("TaskInitialize", (three, POOL)), ("TaskClaimed", (three,))),
    ]
    assert {task.status for task in market.ledger.tasks.values()} == {ChainStatus.FAILED}
    market.refuses("is FAILED", claims, [one], now=END)
    claims([], now=END)
    assert SCHEDULER not in market.ledger.scores
