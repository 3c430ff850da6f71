"""The index of openings, step by step: what it keeps, whom a change frees, who comes first."""

from __future__ import annotations

from dataclasses import replace

import pytest
from lifecycle_lives import WORKERS
from lifecycle_states import DEAL, S, active, ended, rep, unset

from tallystick.lifecycle import facts as f
from tallystick.lifecycle.fitness import Applicant, NoWork
from tallystick.lifecycle.openings import Openings
from tallystick.lifecycle.replicate import Replicate
from tallystick.lifecycle.task import Task, TaskStatus
from tallystick.poco.deal import Deal
from tallystick.poco.tags import GPU, TEE, tag_of
from tallystick.poco.values import Address, DealId, TaskId

A, B, C = WORKERS
ME = Applicant(wallet=A)
LATE = 351


def deal(number: int, **other: object) -> Deal:
    return replace(DEAL, id=DealId(bytes([number]) * 32), **other)  # type: ignore[arg-type]


def task(number: int, *replicates: Replicate, of: Deal | None = None, **known: object) -> Task:
    bought = of or deal(number)
    return active(*replicates, id=bought.task_id(number), index=number, deal=bought, **known)


def index(*tasks: Task) -> Openings:
    openings = Openings()
    for each in tasks:
        openings.tell(each.id, each)
    return openings


BUSY, DONE = rep(S.STARTED), rep(S.COMPUTED)
VOTED, LOST = rep(S.CONTRIBUTED), rep(S.COMPUTED, away=f.Lost(A))
FREE = {"worker_stake": 0}


@pytest.mark.parametrize(
    ("deal", "before", "after", "freed"),
    [
        (DEAL, BUSY, BUSY, False),
        (DEAL, BUSY, DONE, True),
        (DEAL, DONE, BUSY, False),
        (DEAL, DONE, DONE, False),
        (DEAL, DONE, VOTED, True),
        (DEAL, DONE, LOST, True),
        (DEAL, LOST, DONE, False),
        (DEAL, LOST, VOTED, False),
        (DEAL, BUSY, None, True),
        (DEAL, DONE, None, True),
        (DEAL, VOTED, None, False),
        (DEAL, None, BUSY, False),
        (replace(DEAL, worker_stake=0), BUSY, DONE, True),
        (replace(DEAL, worker_stake=0), DONE, VOTED, False),
        (replace(DEAL, worker_stake=0), BUSY, None, True),
        (replace(DEAL, worker_stake=0), DONE, None, False),
    ],
)
def test_whom_a_change_frees(
    deal: Deal, before: Replicate | None, after: Replicate | None, freed: bool
) -> None:
    first, other = [r for r in (before,) if r], [r for r in (after,) if r]
    openings = index(active(*first, rep(S.STARTED, B), deal=deal))
    told = active(*other, rep(S.STARTED, B), deal=deal)
    assert openings.tell(told.id, told) == (A,) * freed


def test_the_end_of_a_task_frees_all() -> None:
    both = (BUSY, rep(S.CHECKED, B))
    assert set(index(active(*both)).tell(DEAL.task_id(0), ended(*both))) == {A, B}
    assert set(index(active(*both)).tell(DEAL.task_id(0), None)) == {A, B}
    assert index().tell(DEAL.task_id(0), None) == ()


def test_what_is_kept_of_a_worker() -> None:
    one, two, three = task(1, BUSY), task(2, DONE), task(3, VOTED)
    openings = index(one, two, three, task(4, rep(S.STARTED, B)))
    assert (openings.busy(A), openings.owed(A), openings.held_by(A)) == (
        1,
        10,
        [one, two, three],
    )
    assert (openings.busy(C), openings.owed(C), openings.held_by(C)) == (0, 0, [])
    openings.tell(one.id, replace(one, replicates={A: DONE}))
    assert (openings.busy(A), openings.owed(A)) == (0, 10)
    openings.tell(two.id, replace(two, status=TaskStatus.COMPLETED))
    openings.tell(three.id, None)
    assert (openings.busy(A), openings.owed(A), len(openings.held_by(A))) == (0, 5, 1)
    openings.tell(one.id, replace(one, replicates={}))
    assert (openings.busy(A), openings.owed(A), openings.held_by(A)) == (0, 0, [])
    decided = replace(one, status=TaskStatus.REVEALING)
    openings.tell(one.id, decided)
    assert openings.busy(A) == 0, "it computes nothing that is decided"
    assert openings.live() == [task(4, rep(S.STARTED, B)), decided]


def test_what_is_wanted() -> None:
    one = task(1)
    openings = index(one)
    assert openings.wants(one.id)
    assert not openings.wants(task(2).id)
    openings.tell(one.id, replace(one, status=TaskStatus.REVEALING))
    assert not openings.wants(one.id)
    openings.tell(one.id, task(1, BUSY))
    assert openings.wants(one.id)
    openings.tell(one.id, one)
    assert openings.wants(one.id), "a reorg may take a replicate away"
    openings.tell(one.id, ended(id=one.id, deal=one.deal))
    assert not openings.wants(one.id)
    assert openings.why_none(ME, 0) is NoWork.NO_TASK


def test_nothing_stale_is_given() -> None:
    openings = index(task(1))
    openings.tell(task(1).id, task(1, BUSY))
    assert given(openings) is None, "it has this one"
    openings.tell(task(1).id, task(1, rep(S.STARTED, B)))
    assert given(openings) == 1
    openings.tell(task(1).id, None)
    assert given(openings) is None, "it is no more"


def test_the_others_stay_when_one_is_wanted_no_more() -> None:
    bought = deal(9)
    one, two = (task(number, of=bought) for number in (0, 1))
    openings = index(one, two, task(3))
    openings.tell(one.id, None)
    assert openings.wants(two.id), "of the same deal"
    openings.tell(two.id, None)
    assert openings.task_for(ME, 0) == task(3), "of another deal that asks the same"


def test_a_deal_that_is_told_again_keeps_its_turn() -> None:
    openings = index(task(1), task(2))
    openings.tell(task(1).id, task(1))
    assert given(openings) == 1


def test_a_pool_that_ends_begins_nothing() -> None:
    openings = Openings()
    openings.begins_new = False
    for each in (task(1), task(2, rep(S.STARTED, B))):
        openings.tell(each.id, each)
    assert (openings.wants(task(1).id), openings.wants(task(2).id)) == (False, True)


# --- who comes first --------------------------------------------------------------------------

BAG = deal(9, bot_size=200)


def bag(*numbers: int, by: Address | None = None) -> list[Task]:
    had = [rep(S.STARTED, by)] if by else []
    return [task(number, *had, of=BAG) for number in numbers]


def given(openings: Openings, applicant: Applicant = ME, now: int = 0) -> int | None:
    found = openings.task_for(replace(applicant, slots=999), now)
    return found.index if found else None


@pytest.mark.parametrize(
    ("tasks", "first"),
    [
        ([*bag(0), *bag(1, by=B)], 1),
        ([*bag(1, by=B), *bag(0)], 1),
        ([*bag(0), *bag(*range(1, 50), by=A), *bag(50, by=B)], 50),
        ([*bag(0), *bag(*range(1, 51), by=A), *bag(51, by=B)], 0),
        ([*bag(*range(1, 51), by=A), *bag(51, by=B)], 51),
        (bag(*range(1, 51), by=A), None),
    ],
)
def test_what_is_begun_comes_first_but_for_a_glance(
    tasks: list[Task], first: int | None
) -> None:
    assert given(index(*tasks)) == first


KIN = replace(ME, kin=frozenset({B}))


@pytest.mark.parametrize(
    ("tasks", "first"),
    [
        (bag(1, 2, by=B), 1),
        ([*bag(*range(1, 50), by=B), *bag(50, by=C)], 50),
        ([*bag(*range(1, 51), by=B), *bag(0)], 1),
        ([*bag(1, by=B), task(2)], 2),
        ([task(2), *bag(1, by=B)], 2),
        ([*bag(1, by=B), task(2, rep(S.STARTED, B))], 1),
    ],
)
def test_wallets_of_one_owner_meet_only_if_they_must(tasks: list[Task], first: int) -> None:
    assert given(index(*tasks), KIN) == first


def test_deals_take_turns_among_those_that_ask_the_same() -> None:
    staked = deal(3, worker_stake=6)
    openings = index(*(task(n) for n in (1, 2)), task(3, of=staked))
    order = []
    for _ in range(5):
        order.append(given(openings))
        openings.served(deal(order[-1] or 0).id)
    assert order == [1, 2, 3, 1, 2]
    openings.served(deal(8).id)
    assert given(openings) == 3


def test_slots_and_needs() -> None:
    openings = index(task(1, of=deal(1, tag=tag_of(GPU))), task(2, BUSY), task(3, DONE))
    assert openings.task_for(ME, 0) is None
    two = replace(ME, slots=2)
    assert openings.task_for(two, 0) is None, "it can do nothing of the rest"
    found = openings.task_for(replace(two, offers=tag_of(GPU)), 0)
    assert found
    assert found.index == 1
    openings.tell(task(4).id, task(4))
    assert openings.task_for(ME, 0) is None, "its slot is used"
    assert openings.task_for(two, 0) == task(4)


def test_what_is_late_by_now_is_left_out_until_a_reorg_moves_it() -> None:
    one, two = task(1), task(2, of=deal(2, start=100))
    openings = index(one, two)
    assert given(openings, now=LATE - 1) == 1
    assert given(openings, now=LATE) == 2
    assert given(openings, now=LATE + 100) is None
    assert openings.why_none(ME, LATE) is NoWork.ENOUGH_WORKERS
    assert openings.why_none(ME, LATE + 100) is NoWork.TOO_LATE
    openings.tell(one.id, replace(one, deal=deal(1, start=200)))
    assert given(openings, now=LATE + 100) == 1
    openings.tell(one.id, replace(one, deal=deal(1, start=200, tag=tag_of(TEE))))
    assert given(openings, now=0) is None, "it asks for more now; the other one is late"


# --- why there is nothing ---------------------------------------------------------------------


def why(*tasks: Task, now: int = 0, **other: object) -> NoWork:
    return index(*tasks).why_none(replace(ME, **other), now)  # type: ignore[arg-type]


def full(number: int) -> Task:
    """With enough workers, none of which is the applicant."""
    workers = [Address(bytes([n]) * 20) for n in (11, 12, 13)]
    return task(number, *(rep(S.STARTED, worker) for worker in workers))


RICH, ENCLAVE = deal(6, worker_stake=7), deal(7, tag=tag_of(TEE))


def test_why_there_is_nothing() -> None:
    assert why() is NoWork.NO_TASK
    assert why(unset()) is NoWork.NO_TASK
    assert why(task(1, BUSY)) is NoWork.SLOTS_FULL
    assert why(task(1, BUSY), slots=2) is NoWork.ALREADY_HAD
    assert why(task(1, BUSY), full(2), slots=2) is NoWork.ENOUGH_WORKERS
    assert why(task(1, BUSY), task(2, of=ENCLAVE), slots=2) is NoWork.ALREADY_HAD
    assert why(task(1, of=ENCLAVE), task(2, of=RICH), stake=0) is NoWork.STAKE_TOO_LOW
    assert why(task(2, of=RICH), task(1, of=ENCLAVE), stake=0) is NoWork.STAKE_TOO_LOW
    assert why(full(1), now=LATE) is NoWork.ENOUGH_WORKERS
    assert why(task(1), now=LATE) is NoWork.TOO_LATE
    assert why(task(1), full(2), now=LATE) is NoWork.TOO_LATE
    assert why(full(1), task(2, of=ENCLAVE), now=LATE) is NoWork.ENOUGH_WORKERS
    assert why(task(1, status=TaskStatus.REVEALING)) is NoWork.NO_TASK
    openings = index(task(1))
    openings.tell(full(1).id, full(1))
    assert openings.why_none(ME, LATE) is NoWork.ENOUGH_WORKERS, "nothing of the deal is open"


def test_tasks_of_other_kinds_do_not_count() -> None:
    decided = task(2, BUSY, status=TaskStatus.REVEALING)
    assert why(full(1), decided) is NoWork.ENOUGH_WORKERS, "what it has had is decided"
    had = task(3, DONE, of=RICH)
    assert why(full(1), had, stake=6) is NoWork.ENOUGH_WORKERS, "it could not do that one"
    assert why(task(1, DONE), task(2, of=RICH), stake=6) is NoWork.ALREADY_HAD


def test_a_task_that_is_told_again_counts_once() -> None:
    openings = index(*[task(1, DONE)] * 3, full(2), *[task(3, DONE)] * 2)
    assert openings.why_none(ME, 0) is NoWork.ENOUGH_WORKERS
    openings.tell(full(2).id, None)
    assert openings.why_none(ME, 0) is NoWork.ALREADY_HAD
    for each in (1, 3):
        openings.tell(TaskId(task(each).id), replace(task(each), status=TaskStatus.FAILED))
    assert openings.why_none(ME, 0) is NoWork.NO_TASK
