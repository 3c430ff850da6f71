"""Who owes what in which state: each condition alone, each deadline to the second."""

from __future__ import annotations

from dataclasses import replace

import pytest
from lifecycle_lives import DEAL as EASY
from lifecycle_lives import DIGESTS, TASK, VOTES, WORKERS
from lifecycle_states import DEAL, ME, S, active, decided, ended, rep, unset, won

from tallystick.lifecycle import agenda
from tallystick.lifecycle import facts as f
from tallystick.lifecycle.facts import Audit, Scrutiny, Step
from tallystick.lifecycle.replicate import OVER, Replicate, Status
from tallystick.lifecycle.task import Task, TaskStatus
from tallystick.poco.contribution import Tally
from tallystick.poco.tags import GPU, TEE, tag_of
from tallystick.poco.values import Address

_, OTHER, THIRD = WORKERS
CALLBACK = Address(b"\xcb" * 20)
SECOND = Scrutiny(audits=True)


def said(task: Task, now: int) -> list[tuple[object, ...]]:
    """What ME owes, as (step, digest) or (cause,)."""
    return [
        (due.step, due.digest) if isinstance(due, agenda.Do) else (due.cause,)
        for due in agenda.owed_by_worker(task, ME, now)
        if due.task == TASK
    ]


# --- what a worker owes -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "together", "alone"),
    [
        (S.ASSIGNED, Step.START, Step.START),
        (S.STARTED, Step.FETCH_APP, Step.FETCH_APP),
        (S.APP_FETCHED, Step.FETCH_DATA, Step.FETCH_DATA),
        (S.DATA_FETCHED, Step.COMPUTE, Step.COMPUTE),
        (S.COMPUTED, Step.CHECK, Step.CHECK),
        (S.CHECKED, Step.CONTRIBUTE, Step.PUBLISH),
        (S.PUBLISHED, Step.CONTRIBUTE, Step.FINISH),
    ],
)
def test_the_next_step(status: Status, together: Step, alone: Step) -> None:
    mine = rep(status, digest=DIGESTS[0])
    assert said(active(mine), 0) == [(together, DIGESTS[0])]
    assert said(active(replace(mine, alone=True)), 0) == [(alone, DIGESTS[0])]


@pytest.mark.parametrize("status", OVER)
def test_whose_replicate_is_over_owes_nothing(status: Status) -> None:
    for task in (active(rep(status)), decided(won(status)), ended(won(status))):
        assert said(task, 100) == []


ASSIGNED, HANDED_IN = rep(), rep(S.COMPUTED, scrutiny=Scrutiny(digest_first=True))
OPINION = rep(S.DATA_FETCHED, scrutiny=SECOND)
TOO_LATE, BEATEN = [("CONTRIBUTION_TIMEOUT",)], [("CONSENSUS_REACHED",)]
START, COMPUTE = [(Step.START, None)], [(Step.COMPUTE, None)]
REVEAL = [(Step.REVEAL, DIGESTS[0])]


@pytest.mark.parametrize(
    ("task", "now", "due"),
    [
        (unset(ASSIGNED), 0, []),
        (unset(ASSIGNED), 500, []),
        (active(ASSIGNED), 409, START),
        (active(ASSIGNED), 410, TOO_LATE),
        (active(HANDED_IN), 0, []),
        (active(HANDED_IN), 410, TOO_LATE),
        # Others have voted: whoever is asked for a second opinion goes on.
        (decided(ASSIGNED), 0, BEATEN),
        (decided(OPINION), 0, COMPUTE),
        (decided(OPINION), 589, COMPUTE),
        (decided(OPINION), 590, BEATEN),
        (active(OPINION), 410, TOO_LATE),
        (decided(replace(OPINION, digest=DIGESTS[0])), 0, BEATEN),
        (decided(replace(OPINION, scrutiny=Scrutiny())), 0, BEATEN),
        # Nobody has proved anything in time: votes will be wanted once more.
        (decided(ASSIGNED, won(S.CONTRIBUTED, OTHER)), 199, BEATEN),
        (decided(ASSIGNED, won(S.CONTRIBUTED, OTHER)), 200, []),
        (decided(ASSIGNED, won(S.CONTRIBUTED, OTHER)), 409, []),
        (decided(ASSIGNED, won(S.CONTRIBUTED, OTHER)), 410, BEATEN),
        (decided(ASSIGNED, won(S.REVEALED, OTHER)), 200, BEATEN),
        # After the vote.
        (active(won(S.CONTRIBUTED, digest=DIGESTS[0])), 100, []),
        (decided(won(S.CONTRIBUTED, digest=DIGESTS[0])), 189, REVEAL),
        (decided(won(S.CONTRIBUTED, digest=DIGESTS[0])), 190, []),
        (decided(won(S.CONTRIBUTED, vote=VOTES[1])), 100, []),
        (decided(won(S.REVEALED)), 100, []),
        (decided(won(S.UPLOAD_REQUESTED, digest=DIGESTS[0])), 100, [(Step.UPLOAD, None)]),
        (decided(won(S.UPLOADED)), 100, []),
        # After the end.
        (ended(won(S.REVEALED)), 0, [(Step.COMPLETE, None)]),
        (ended(won(S.UPLOADED)), 0, [(Step.COMPLETE, None)]),
        (ended(won(S.UPLOAD_REQUESTED)), 0, BEATEN),
        (ended(ASSIGNED), 0, BEATEN),
        (ended(won(S.REVEALED), status=TaskStatus.FAILED), 0, BEATEN),
        (ended(ASSIGNED, status=TaskStatus.FAILED, consensus=None), 0, TOO_LATE),
    ],
)
def test_what_a_worker_owes(task: Task, now: int, due: list[tuple[object, ...]]) -> None:
    assert said(task, now) == due
    assert list(agenda.owed_by_worker(task, THIRD, now)) == []


SHY = won(S.CONTRIBUTED)


@pytest.mark.parametrize(
    ("task", "now", "may"),
    [
        (decided(SHY), 199, False),
        (decided(SHY), 200, True),
        (decided(SHY), 409, True),
        (decided(SHY), 410, False),
        (decided(SHY, won(S.REVEALED, OTHER)), 200, False),
        (decided(SHY, won(S.REVEALED, OTHER, vote=VOTES[1])), 200, True),
        (decided(SHY, reveal_deadline=None), 200, False),
        (active(SHY, consensus=VOTES[0], reveal_deadline=200), 200, False),
        (ended(SHY), 200, False),
    ],
)
def test_when_a_task_may_be_opened_again(task: Task, now: int, may: bool) -> None:
    assert agenda.may_reopen(task, now) is may


ELSEWHERE = '{"iexec_result_storage_proxy": "https://store.example"}'


@pytest.mark.parametrize(
    ("deal", "may"),
    [
        ({}, True),
        ({"trust": 0}, True),
        ({"trust": 2}, False),
        ({"tag": tag_of(TEE)}, False),
        ({"tag": tag_of(GPU)}, True),
        ({"params": ELSEWHERE}, False),
        ({"params": ELSEWHERE, "callback": CALLBACK}, True),
        ({"callback": CALLBACK}, True),
    ],
)
def test_when_a_vote_may_finalize(deal: dict[str, object], may: bool) -> None:
    task = active(rep(), deal=replace(DEAL, **{"trust": 1} | deal))  # type: ignore[arg-type]
    assert agenda.may_finish(task) is may


def test_no_vote_finalizes_after_another() -> None:
    voted = active(rep(), won(S.CONTRIBUTED, OTHER), deal=replace(DEAL, trust=1))
    assert agenda.may_finish(voted) is False


# --- what the scheduler owes ------------------------------------------------------------------

OPEN = agenda.Initialize(TASK, DEAL.id, 0)
BACK, UNOPENED, AGAIN = (
    agenda.Claim(TASK),
    agenda.ClaimUnopened(TASK, DEAL.id, 0),
    agenda.Reopen(TASK),
)
LINK = {"link": "/ipfs/Qm", "callback": "0xab"}
PAY = agenda.Finalize(TASK, "/ipfs/Qm", "0xab")
UPLOADED, REVEALED = won(S.UPLOADED, **LINK), won(S.REVEALED)
ASKED = won(S.UPLOAD_REQUESTED, upload_deadline=150)
LIAR = won(S.REVEALED, agreed=False)
UNCHECKED = replace(UPLOADED, scrutiny=Scrutiny(audit=Audit.NEEDED))


def ask(worker: Address) -> agenda.RequestUpload:
    return agenda.RequestUpload(TASK, worker)


@pytest.mark.parametrize(
    ("task", "now", "due"),
    [
        (unset(), 409, [OPEN]),
        (unset(), 410, []),
        (unset(), 599, []),
        (unset(), 600, [UNOPENED]),
        (active(), 599, []),
        (active(), 600, [BACK]),
        (decided(UPLOADED), 589, [PAY]),
        (decided(UPLOADED), 590, []),
        (decided(UPLOADED), 599, []),
        (decided(UPLOADED), 600, [BACK]),
        (ended(UPLOADED), 100, []),
        (ended(UPLOADED), 600, []),
        (ended(UPLOADED, status=TaskStatus.FAILED), 600, []),
        # Somebody has to prove what it voted for.
        (decided(SHY), 199, []),
        (decided(SHY), 200, [AGAIN]),
        (decided(SHY, won(S.REVEALED, OTHER, vote=VOTES[1])), 200, [AGAIN]),
        # Somebody has to bring the result, one after the other.
        (decided(REVEALED), 100, [ask(ME)]),
        (decided(SHY, won(S.REVEALED, OTHER)), 100, [ask(OTHER)]),
        (decided(won(S.REVEALED, OTHER), REVEALED), 100, [ask(OTHER)]),
        (decided(ASKED, won(S.REVEALED, OTHER)), 149, []),
        (decided(ASKED, won(S.REVEALED, OTHER)), 150, [ask(OTHER)]),
        (
            decided(replace(ASKED, upload_deadline=None), won(S.REVEALED, OTHER)),
            0,
            [ask(OTHER)],
        ),
        (decided(replace(REVEALED, upload_deadline=150)), 100, [ask(ME)]),
        (decided(won(S.FAILED, revealed=True)), 100, []),
        (decided(won(S.FAILED, revealed=True), won(S.REVEALED, OTHER)), 100, [ask(OTHER)]),
        # Then everybody is paid, once all have proved it or the time is over.
        (decided(UPLOADED, won(S.CONTRIBUTED, OTHER)), 199, []),
        (decided(UPLOADED, won(S.CONTRIBUTED, OTHER)), 200, [PAY]),
        (decided(UPLOADED, won(S.REVEALED, OTHER)), 100, [PAY]),
        # Nothing that is known to be wrong, or still to be compared, is paid for.
        (decided(LIAR), 100, []),
        (decided(LIAR, won(S.UPLOADED, OTHER, **LINK)), 100, []),
        (decided(UNCHECKED), 100, []),
    ],
)
def test_what_the_scheduler_owes(task: Task, now: int, due: list[agenda.PoolCommand]) -> None:
    assert list(agenda.owed_by_pool(task, now)) == due


def test_audits_come_before_all_else() -> None:
    lied = won(S.REVEALED, digest=DIGESTS[1], scrutiny=Scrutiny(digest_first=True))
    (found,) = agenda.owed_by_pool(decided(lied), 100)
    assert isinstance(found, agenda.Conclude)


@pytest.mark.parametrize(
    ("task", "now", "late"),
    [
        (decided(SHY), 199, []),
        (decided(SHY), 200, [f.RevealOverdue(ME)]),
        (decided(won(S.CONTRIBUTED, vote=VOTES[1])), 200, []),
        (decided(REVEALED), 200, []),
        (decided(ASKED), 149, []),
        (decided(ASKED), 150, [f.UploadOverdue(ME)]),
        (decided(replace(ASKED, failed=Step.UPLOAD)), 150, []),
        (decided(replace(ASKED, upload_deadline=None)), 150, []),
        (decided(replace(REVEALED, upload_deadline=150)), 150, []),
        (
            decided(SHY, replace(ASKED, worker=OTHER)),
            200,
            [f.RevealOverdue(ME), f.UploadOverdue(OTHER)],
        ),
        (decided(SHY, reveal_deadline=None), 200, []),
        (ended(SHY), 200, []),
        (active(SHY, consensus=VOTES[0], reveal_deadline=200), 200, []),
    ],
)
def test_who_is_overdue(task: Task, now: int, late: list[f.Fact]) -> None:
    assert list(agenda.overdue(task, now)) == late


@pytest.mark.parametrize(
    ("task", "now", "claims"),
    [
        (active(SHY), 659, False),
        (active(SHY), 660, True),
        (decided(SHY), 660, True),
        (ended(SHY), 660, False),
        (unset(SHY), 660, False),
        (active(rep()), 660, False),
        (active(replace(SHY, worker=OTHER)), 660, False),
        (active(SHY, deal=EASY), 660, False),
    ],
)
def test_whoever_has_a_stake_claims_at_last(task: Task, now: int, claims: bool) -> None:
    assert list(agenda.stake_to_claim(task, ME, now)) == [BACK] * claims


# --- whether one more worker is wanted --------------------------------------------------------


def pending(*statuses: Status, **known: object) -> list[Replicate]:
    return [
        rep(status, worker, **known) for status, worker in zip(statuses, WORKERS, strict=False)
    ]


THREE = pending(S.ASSIGNED, S.COMPUTED, S.PUBLISHED)
FOR, AGAINST = Tally({VOTES[0]: 2}), Tally({VOTES[0]: 2, VOTES[1]: 2})
DOUBTED = won(S.REVEALED, scrutiny=Scrutiny(audit=Audit.DRAWN), digest=None)


@pytest.mark.parametrize(
    ("task", "now", "wants"),
    [
        (unset(), 0, False),
        (active(), 0, True),
        (active(), 409, True),
        (active(), 410, False),
        (decided(), 0, False),
        (ended(), 0, False),
        # Weight 2 each: two would be 4 * 8 > 5 * 7 - not enough; three are 8 * 8 > 9 * 7.
        (active(*THREE[:2]), 0, True),
        (active(*THREE), 0, False),
        (active(*THREE[:2], replace(THREE[2], away=f.Lost(THIRD))), 0, True),
        (active(*THREE[:2], replace(THREE[2], away=f.Recovering(THIRD))), 0, False),
        (active(*THREE[:2], replace(THREE[2], status=S.ABORTED)), 0, True),
        # With a vote there, two more do; not where another result has as many.
        (active(*THREE[:2], tally=FOR), 0, False),
        (active(*THREE[:1], tally=FOR), 0, True),
        (active(*THREE[:2], tally=AGAINST), 0, True),
        # With nobody on the way the chain has the last word.
        (active(tally=Tally({VOTES[0]: 99})), 0, True),
        (active(*THREE[:1], tally=Tally({VOTES[0]: 99})), 0, False),
        # What is to be computed again wants somebody though it is decided.
        (decided(DOUBTED), 0, True),
    ],
)
def test_whether_one_more_worker_is_wanted(task: Task, now: int, wants: bool) -> None:
    assert agenda.wants_worker(task, now) is wants
