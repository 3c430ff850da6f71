"""Who is asked for a second opinion, what it decides, and who may vote then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tallystick.lifecycle import facts as f
from tallystick.lifecycle.agenda import (
    Abort,
    Do,
    Finalize,
    owed_by_pool,
    owed_by_worker,
    wants_worker,
)
from tallystick.lifecycle.audit import Authorize, Conclude, goes_on, owed_audits, wants_opinion
from tallystick.lifecycle.facts import Audit, Scrutiny
from tallystick.lifecycle.fitness import Applicant, suits
from tallystick.lifecycle.margins import headroom, last_call, waited_enough
from tallystick.lifecycle.replicate import AUDIT_DIFFERED, Status
from tallystick.lifecycle.task import Task, advance, fold
from tallystick.poco.contribution import result_hash
from tallystick.poco.deal import Deal
from tallystick.poco.values import Address, DealId, Digest, Signature

DEAL = Deal(DealId(b"\x0a" * 32), start=1_000, time_unit=100, trust=1)
A, B, C, D = (Address(bytes([n]) * 20) for n in (1, 2, 3, 4))
RIGHT, WRONG, OTHER = (Digest(bytes([n]) * 32) for n in (7, 8, 9))
PERMIT = Signature(bytes(65))
NOW = 1_010
LATE = next(t for t in range(1_000, 2_000) if waited_enough(DEAL, t))

DRAWN = Scrutiny(audit=Audit.DRAWN, digest_first=True)
NEEDED = replace(DRAWN, audit=Audit.NEEDED)
PLAIN = Scrutiny(digest_first=True)
SECOND = Scrutiny(audits=True, digest_first=True)
AUDITOR = replace(SECOND, trusted=True)
HOLDS = Scrutiny(audit=Audit.DRAWN)
"""Of a worker that holds its authorization from the start."""


def opened(deal: Deal = DEAL) -> Task:
    return advance(advance(None, f.Ordered(deal, 0)), f.Initialized())


def given(task: Task, worker: Address, terms: Scrutiny | None, alone: bool = False) -> Task:
    signed = None if terms and terms.digest_first else PERMIT
    return advance(task, f.Assigned(worker, 2, signed, alone, terms))


def handed(task: Task, worker: Address, digest: Digest | None) -> Task:
    """The worker has computed, and tells what came of it."""
    for fact in (f.Started(worker), f.AppFetched(worker), f.DataFetched(worker)):
        task = advance(task, fact)
    return advance(task, f.Computed(worker, digest))


def perform(task: Task, command: Conclude | Authorize) -> Task:
    match command:
        case Conclude(_, worker, agreed, owner, counts):
            return advance(task, f.Audited(worker, agreed, owner, counts))
        case Authorize(_, worker):
            return advance(task, f.Authorized(worker, PERMIT))


def settled(task: Task, now: int = NOW) -> Task:
    """The task when the pool has done all that it owes."""
    while command := next(owed_audits(task, now), None):
        task = perform(task, command)
    return task


def authorized(task: Task) -> set[Address]:
    return {r.worker for r in task.replicates.values() if r.authorization}


def refuted(task: Task) -> set[Address]:
    return {r.worker for r in task.replicates.values() if r.refuted}


def test_who_is_not_audited_may_vote_as_soon_as_it_has_handed_in_its_digest():
    task = given(opened(), A, PLAIN)
    assert list(owed_audits(task, NOW)) == []
    task = handed(task, A, RIGHT)
    assert list(owed_by_worker(task, A, NOW)) == [], "it has to wait for its permission"
    assert list(owed_audits(task, NOW)) == [Authorize(task.id, A)]
    assert not wants_worker(task, NOW)
    task = settled(task)
    (do,) = owed_by_worker(task, A, NOW)
    assert isinstance(do, Do)
    assert do.digest == RIGHT


def test_nobody_is_asked_before_there_is_something_to_compare():
    task = given(opened(), A, DRAWN)
    assert not wants_worker(task, NOW), "else its worker would see that it is audited"
    task = handed(task, A, RIGHT)
    assert wants_worker(task, NOW)
    assert list(owed_audits(task, NOW)) == []


def test_what_the_operators_own_worker_computed_decides():
    task = handed(given(opened(), A, DRAWN), A, WRONG)
    task = given(task, B, AUDITOR)
    assert not wants_worker(task, NOW), "one is asked"
    task = handed(task, B, RIGHT)
    assert next(owed_audits(task, NOW)) == Conclude(task.id, A, agreed=False)
    task = settled(task)
    assert authorized(task) == {B}
    liar = task.replicates[A]
    assert (liar.status, liar.cause) == (Status.FAILED, AUDIT_DIFFERED)
    assert not wants_worker(task, NOW)


def test_who_agrees_votes_and_the_auditor_need_not():
    task = handed(given(opened(), A, NEEDED), A, RIGHT)
    task = settled(handed(given(task, B, AUDITOR), B, RIGHT))
    assert (authorized(task), refuted(task)) == ({A}, set())
    assert task.replicates[A].agreed
    gone = advance(task, f.Lost(A))
    assert authorized(settled(gone)) == {A, B}, "the auditor votes for one that is gone"


@pytest.mark.parametrize("liar", ["the first", "the second"])
def test_where_two_of_equal_rank_differ_a_third_decides(liar: str):
    first, second = (WRONG, RIGHT) if liar == "the first" else (RIGHT, WRONG)
    task = handed(given(opened(), A, DRAWN), A, first)
    task = handed(given(task, B, SECOND), B, second)
    assert wants_worker(task, NOW)
    assert settled(task) == task, "nobody knows yet"
    task = settled(handed(given(task, C, SECOND), C, RIGHT))
    wrong = A if liar == "the first" else B
    assert refuted(task) == {wrong}
    assert len(authorized(task)) == 1
    assert authorized(task) < {A, B, C} - {wrong}
    assert not wants_worker(task, NOW)


def test_wallets_of_one_owner_are_one_opinion():
    ours, theirs = replace(DRAWN, owner="them"), replace(SECOND, owner="them")
    task = handed(given(opened(), A, ours), A, WRONG)
    task = handed(given(task, B, theirs), B, WRONG)
    assert settled(task) == task
    assert wants_worker(task, NOW)


def test_three_that_all_differ_say_nothing_about_anybody():
    task = handed(given(opened(), A, DRAWN), A, RIGHT)
    task = handed(given(task, B, SECOND), B, WRONG)
    task = settled(handed(given(task, C, SECOND), C, OTHER))
    assert (authorized(task), refuted(task)) == ({A}, set())
    assert not wants_worker(task, NOW)


def test_a_lost_auditor_is_replaced():
    task = handed(given(opened(), A, DRAWN), A, RIGHT)
    task = advance(given(task, B, AUDITOR), f.Lost(B))
    assert wants_worker(task, NOW)


@pytest.mark.parametrize(("terms", "goes"), [(DRAWN, True), (NEEDED, False)])
def test_when_nobody_audits_in_time_only_a_worker_that_is_good_enough_goes_on(
    terms: Scrutiny, goes: bool
):
    task = handed(given(opened(), A, terms), A, RIGHT)
    assert settled(task, LATE - 1) == task
    assert authorized(settled(task, LATE)) == ({A} if goes else set())
    assert not wants_opinion(task, LATE)
    assert headroom(DEAL) + LATE < DEAL.contribution_deadline, "and there is time to vote"


def test_a_liar_that_drops_its_replicate_is_compared_all_the_same():
    task = handed(given(opened(), A, DRAWN), A, WRONG)
    task = advance(task, f.Aborted(A, "ABORTED_BY_WORKER"))
    assert wants_worker(task, NOW)
    task = settled(handed(given(task, B, AUDITOR), B, RIGHT))
    assert (refuted(task), authorized(task)) == ({A}, {B})


def test_who_votes_for_something_else_than_it_handed_in_is_found_and_not_paid():
    task = settled(handed(given(opened(), A, PLAIN), A, RIGHT))
    task = advance(task, f.Contributed(A, result_hash(task.id, WRONG), 2))
    task = won(task, A, WRONG)
    assert list(owed_by_pool(task, NOW)) == [Conclude(task.id, A, agreed=False)]
    task = settled(task)
    assert list(owed_by_pool(task, NOW)) == [], "neither upload nor finalize"


def won(task: Task, worker: Address, digest: Digest) -> Task:
    hash = result_hash(task.id, digest)
    task = advance(task, f.ConsensusReached(hash, NOW + 200))
    return advance(task, f.Revealed(worker, digest))


def with_link(task: Task, worker: Address) -> Task:
    task = advance(task, f.UploadRequested(worker, NOW + 100))
    return advance(task, f.Uploaded(worker, "/ipfs/Qm"))


def finalizes(task: Task, now: int = NOW) -> bool:
    return any(isinstance(command, Finalize) for command in owed_by_pool(task, now))


def voted(digest: Digest, terms: Scrutiny = HOLDS) -> Task:
    """A worker that held its authorization has decided the task, and published its result."""
    task = handed(given(opened(), A, terms), A, None)
    task = advance(task, f.Contributed(A, result_hash(task.id, digest), 2))
    return with_link(won(task, A, digest), A)


def asked(task: Task) -> Task:
    """Somebody is asked again, and told to compute though the task is decided."""
    assert wants_worker(task, NOW)
    task = given(task, B, AUDITOR)
    assert goes_on(task, B)
    (do,) = owed_by_worker(task, B, NOW)
    assert isinstance(do, Do)
    return task


def test_a_task_that_a_v9_worker_decided_is_finalized_when_the_audit_agrees():
    task = asked(voted(RIGHT))
    assert not finalizes(task)
    task = settled(handed(task, B, RIGHT))
    assert finalizes(task)
    (abort,) = owed_by_worker(task, B, NOW)
    assert isinstance(abort, Abort)


def test_a_task_that_a_v9_worker_decided_wrongly_is_never_finalized():
    task = settled(handed(asked(voted(WRONG)), B, RIGHT))
    assert refuted(task) == {A}
    assert not any(finalizes(task, now) for now in range(NOW, DEAL.final_deadline, 7))
    (claim,) = owed_by_pool(task, DEAL.final_deadline)
    assert type(claim).__name__ == "Claim"


def test_an_audit_that_never_comes_holds_no_payment_up_for_good():
    task, unasked = asked(voted(RIGHT)), voted(RIGHT)
    assert not finalizes(unasked, LATE - 1)
    assert finalizes(unasked, LATE)
    end = next(t for t in range(NOW, DEAL.final_deadline) if last_call(DEAL, t))
    assert not finalizes(task, end - 1)
    assert finalizes(task, end)
    doubted = voted(RIGHT, replace(HOLDS, audit=Audit.NEEDED))
    assert not finalizes(doubted, end)


def test_all_that_agree_vote_where_one_is_not_enough():
    task = handed(given(opened(replace(DEAL, trust=5)), A, DRAWN), A, RIGHT)
    task = settled(handed(given(task, B, AUDITOR), B, RIGHT))
    assert authorized(task) == {A, B}


def test_a_second_opinion_is_asked_of_the_operators_own_or_of_another_owner():
    task = handed(given(opened(), A, DRAWN), A, RIGHT)
    kin = Applicant(wallet=B, kin=frozenset({A}))
    assert suits(Applicant(wallet=B), task)
    assert not suits(kin, task)
    assert suits(replace(kin, trusted=True), task)
    assert not suits(Applicant(wallet=B, audits=False), task)
    assert suits(replace(kin, audits=False), opened()), "for what nobody has begun"


FIRST = replace(SECOND, ahead=True)
"""Of a stranger that audits, and votes before the one that it agrees with."""


def agreeing(trust: int, terms: Scrutiny, drawn: Audit = Audit.NEEDED) -> Task:
    """A stranger has computed the same as the worker that it audits."""
    first = replace(DRAWN, audit=drawn)
    task = handed(given(opened(replace(DEAL, trust=trust)), A, first), A, RIGHT)
    return settled(handed(given(task, B, terms), B, RIGHT))


def contributed(task: Task, worker: Address, digest: Digest) -> Task:
    return advance(task, f.Contributed(worker, result_hash(task.id, digest), 2))


def test_where_the_vote_of_a_stranger_that_audits_leaves_the_task_open_both_are_paid():
    task = agreeing(5, FIRST)
    assert authorized(task) == {B}, "the vote of the other would end the votes"
    task = settled(contributed(task, B, RIGHT))
    assert authorized(task) == {A, B}
    assert task.takes_votes


@pytest.mark.parametrize("trust", [1, 5])
def test_a_stranger_that_agreed_and_does_not_vote_keeps_nobody_waiting(trust: int):
    task = agreeing(trust, FIRST)
    assert authorized(task) == {B}
    for fact in (f.Lost(B), f.Aborted(B, "ABORTED_BY_WORKER")):
        assert authorized(settled(advance(task, fact))) == {A, B}


def test_a_stranger_that_agreed_is_not_waited_for_for_ever():
    task = agreeing(5, FIRST)
    assert settled(task, LATE - 1) == task
    assert authorized(settled(task, LATE)) == {A, B}


@pytest.mark.parametrize(("terms", "votes"), [(FIRST, B), (SECOND, A)])
def test_where_one_vote_decides_one_of_those_that_agree_is_paid(
    terms: Scrutiny, votes: Address
):
    task = agreeing(1, terms)
    assert authorized(task) == {votes}
    assert task.replicates[A].agreed, "it counts for the other all the same"


@pytest.mark.parametrize("drawn", [Audit.DRAWN, Audit.NEEDED])
def test_who_was_found_to_be_right_votes_though_its_auditor_breaks_its_word(drawn: Audit):
    task = settled(contributed(agreeing(5, FIRST, drawn), B, WRONG))
    assert (authorized(task), refuted(task)) == ({A, B}, {B})


def restarts() -> Iterator[list[f.Fact]]:
    """A life with an audit, cut off after each of its facts."""
    facts: list[f.Fact] = [f.Ordered(DEAL, 0), f.Initialized()]
    facts += [f.Assigned(A, 2, None, scrutiny=DRAWN), f.Started(A), f.AppFetched(A)]
    facts += [f.DataFetched(A), f.Computed(A, WRONG), f.Assigned(B, 2, None, scrutiny=AUDITOR)]
    facts += [f.Started(B), f.AppFetched(B), f.DataFetched(B), f.Computed(B, RIGHT)]
    facts += [f.Audited(A, agreed=False), f.Authorized(B, PERMIT)]
    yield from (facts[:n] for n in range(2, len(facts) + 1))


@pytest.mark.parametrize("journal", list(restarts()), ids=len)
def test_a_restart_at_any_fact_ends_the_same_way(journal: list[f.Fact]):
    task = fold(journal)
    assert task is not None
    for worker, digest, terms in ((A, WRONG, DRAWN), (B, RIGHT, AUDITOR)):
        if worker not in task.replicates:
            task = given(task, worker, terms)
        for fact in (
            *(f.Started(worker), f.AppFetched(worker), f.DataFetched(worker)),
            f.Computed(worker, digest),
        ):
            try:
                task = advance(task, fact)
            except f.IllegalFact:
                continue
        task = settled(task)
    assert (refuted(task), authorized(task)) == ({A}, {B})
