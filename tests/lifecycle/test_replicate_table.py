"""What each fact changes of a replicate, and from where it may: all of it, case by case."""

from __future__ import annotations

from dataclasses import replace

import pytest
from lifecycle_lives import DEAL, DIGESTS, TASK, VOTES, WORKERS
from lifecycle_states import ME, S, active, decided, ended, rep, unset, won

from tallystick.lifecycle import facts as f
from tallystick.lifecycle.facts import Audit, IllegalFact, Scrutiny, Step
from tallystick.lifecycle.replicate import BEFORE_VOTE, OVER, STARTS_FROM, Replicate, Status
from tallystick.lifecycle.replicate import advance as after
from tallystick.lifecycle.task import Task, TaskStatus, advance, fold
from tallystick.poco.contribution import Tally
from tallystick.poco.deal import Deal
from tallystick.poco.values import DealId, Signature

_, OTHER, THIRD = WORKERS
DIGEST, PERMIT = DIGESTS[0], Signature(bytes(65))
GONE, BACK, BROKE = f.Lost(ME), f.Recovering(ME), "OUT_OF_GAS"
PUBLISHED = f.Published(ME, "/ipfs/Qm", "0xab")
ALIVE = tuple(status for status in Status if status not in OVER)
CLEAN = {"doing": None, "away": None, "held": None, "failed": None, "begun": False}


def used(status: Status, **known: object) -> Replicate:
    """One that has seen everything, so that whatever a fact clears or keeps is seen."""
    return rep(
        status,
        ME,
        **{
            "away": GONE,
            "held": "OTHER",
            "failed": Step.START,
            "begun": True,
            "cause": "OLD",
            "gave_up": "OLD",
            "digest": DIGESTS[1],
            "exit_code": 3,
            "alone": True,
            "link": "old",
            "revealed": False,
            "upload_deadline": 5,
            "callback": "0x",
        }
        | known,
    )


@pytest.mark.parametrize(
    ("fact", "froms"),
    [
        (GONE, ALIVE),
        (BACK, ALIVE),
        *((f.Began(ME, step), STARTS_FROM[step]) for step in Step),
        *((f.Held(ME, step, BROKE), STARTS_FROM[step]) for step in Step),
        *(
            (f.Failed(ME, step, BROKE), STARTS_FROM[step])
            for step in Step
            if step is not Step.UPLOAD
        ),
        (f.Failed(ME, Step.UPLOAD, BROKE), (S.REVEALED, S.UPLOAD_REQUESTED, S.UPLOADED)),
        (f.Failed(ME, Step.FETCH_APP, BROKE, DIGEST), (S.STARTED,)),
        (f.Failed(ME, Step.FETCH_DATA, BROKE, DIGEST), (S.APP_FETCHED,)),
        (f.Failed(ME, Step.COMPUTE, BROKE, DIGEST), ()),
        (f.Aborted(ME, BROKE), ALIVE),
        (f.RevealOverdue(ME), (S.CONTRIBUTED,)),
        (f.UploadOverdue(ME), (S.UPLOAD_REQUESTED,)),
        (f.Resumed(ME), ()),
        (f.Authorized(ME, PERMIT), ALIVE),
        (f.Audited(ME, agreed=True), tuple(Status)),
        (f.Started(ME), (S.ASSIGNED,)),
        (f.Contributed(ME, VOTES[0], 2), (*BEFORE_VOTE, S.ABORTED, S.FAILED)),
    ],
)
def test_from_where_a_fact_may_follow(fact: f.ReplicateFact, froms: tuple[Status, ...]) -> None:
    for status in Status:
        if status in froms:
            after(rep(status), fact)
        else:
            with pytest.raises(IllegalFact) as refused:
                after(rep(status), fact)
            assert str(refused.value) == f"{fact} on a replicate that is {status}"


@pytest.mark.parametrize(
    ("mine", "fact"),
    [
        (rep(S.STARTED, away=GONE), GONE),
        (rep(S.STARTED, away=BACK), BACK),
        (rep(S.STARTED, doing=Step.START), f.Failed(ME, Step.FETCH_APP, BROKE)),
        (rep(S.STARTED, doing=Step.START), f.Held(ME, Step.FETCH_APP, BROKE)),
        (rep(S.STARTED, held=BROKE), f.Held(ME, Step.FETCH_APP, BROKE)),
        (rep(S.UPLOAD_REQUESTED, failed=Step.UPLOAD), f.UploadOverdue(ME)),
        (rep(S.STARTED, authorization=PERMIT), f.Authorized(ME, PERMIT)),
        (rep(S.STARTED, agreed=True), f.Audited(ME, agreed=True)),
        (rep(S.STARTED, agreed=False), f.Audited(ME, agreed=True)),
        (rep(S.STARTED, agreed=False), f.Audited(ME, agreed=False)),
    ],
)
def test_what_is_no_news(mine: Replicate, fact: f.ReplicateFact) -> None:
    with pytest.raises(IllegalFact):
        after(mine, fact)


NO_APP, OVER_TIME = "APP_IMAGE_DOWNLOAD_FAILED", "RESULT_LINK_MISSING"


@pytest.mark.parametrize(
    ("mine", "fact", "changes"),
    [
        (
            used(S.STARTED, away=None, doing=Step.START),
            GONE,
            {"away": GONE, "doing": None, "held": None},
        ),
        (used(S.STARTED), BACK, {"away": BACK, "held": None}),
        (
            used(S.STARTED),
            f.Began(ME, Step.FETCH_APP),
            {"away": None, "doing": Step.FETCH_APP, "held": None, "gave_up": None},
        ),
        (
            used(S.CHECKED),
            f.Began(ME, Step.PUBLISH),
            {"away": None, "doing": Step.PUBLISH, "held": None, "gave_up": None},
        ),
        (
            used(S.CHECKED),
            f.Began(ME, Step.CONTRIBUTE),
            {
                "away": None,
                "doing": Step.CONTRIBUTE,
                "held": None,
                "gave_up": None,
                "alone": False,
            },
        ),
        (
            used(S.CONTRIBUTED),
            f.Began(ME, Step.REVEAL),
            {"away": None, "doing": Step.REVEAL, "held": None, "gave_up": None, "alone": False},
        ),
        # Given up.
        (
            used(S.STARTED),
            f.Aborted(ME, BROKE),
            CLEAN | {"status": S.ABORTED, "cause": BROKE, "gave_up": BROKE},
        ),
        (
            used(S.CONTRIBUTED, doing=Step.REVEAL),
            f.Aborted(ME, BROKE),
            CLEAN | {"cause": BROKE, "gave_up": BROKE, "begun": True},
        ),
        (
            used(S.CONTRIBUTED),
            f.RevealOverdue(ME),
            CLEAN | {"status": S.FAILED, "cause": "REVEAL_TIMEOUT", "alone": False},
        ),
        # Failed.
        (
            used(S.STARTED),
            f.Failed(ME, Step.FETCH_APP, BROKE),
            CLEAN | {"status": S.FAILED, "failed": Step.FETCH_APP, "cause": BROKE},
        ),
        (
            used(S.STARTED, doing=Step.FETCH_APP),
            f.Failed(ME, Step.FETCH_APP, BROKE),
            CLEAN
            | {"status": S.FAILED, "failed": Step.FETCH_APP, "cause": BROKE, "begun": True},
        ),
        (
            used(S.STARTED),
            f.Failed(ME, Step.FETCH_APP, BROKE, DIGEST),
            CLEAN
            | {
                "status": S.COMPUTED,
                "failed": Step.FETCH_APP,
                "cause": BROKE,
                "digest": DIGEST,
            },
        ),
        (
            used(S.STARTED),
            f.Failed(ME, Step.FETCH_APP, NO_APP),
            CLEAN | {"status": S.COMPUTED, "failed": Step.FETCH_APP, "cause": NO_APP},
        ),
        (
            used(S.DATA_FETCHED),
            f.Failed(ME, Step.COMPUTE, NO_APP),
            CLEAN | {"status": S.FAILED, "failed": Step.COMPUTE, "cause": NO_APP},
        ),
        # Held up.
        (used(S.CONTRIBUTED), f.Held(ME, Step.REVEAL, BROKE), {"held": BROKE}),
        (
            used(S.CONTRIBUTED, doing=Step.REVEAL),
            f.Held(ME, Step.REVEAL, BROKE),
            {"held": BROKE},
        ),
        (used(S.CONTRIBUTED), f.Resumed(ME), {"held": None}),
        (
            used(S.UPLOAD_REQUESTED, failed=None, begun=True),
            f.UploadOverdue(ME),
            {"failed": Step.UPLOAD, "cause": OVER_TIME, "begun": False},
        ),
        (
            used(S.UPLOAD_REQUESTED, failed=None, begun=False, doing=Step.UPLOAD),
            f.UploadOverdue(ME),
            {"doing": None, "failed": Step.UPLOAD, "cause": OVER_TIME, "begun": True},
        ),
        # Judged.
        (used(S.COMPUTED), f.Authorized(ME, PERMIT), {"authorization": PERMIT}),
        (used(S.COMPUTED), f.Audited(ME, agreed=True), {"agreed": True}),
        (
            used(S.COMPUTED),
            f.Audited(ME, agreed=False),
            CLEAN
            | {"status": S.FAILED, "cause": "AUDIT_DIFFERED", "alone": False, "agreed": False},
        ),
        (
            used(S.COMPUTED, agreed=True),
            f.Audited(ME, agreed=False),
            CLEAN
            | {"status": S.FAILED, "cause": "AUDIT_DIFFERED", "alone": False, "agreed": False},
        ),
        (used(S.CONTRIBUTED), f.Audited(ME, agreed=False), {"agreed": False}),
        # Further.
        (used(S.ASSIGNED), f.Started(ME), CLEAN | {"status": S.STARTED}),
        (used(S.STARTED), f.AppFetched(ME), CLEAN | {"status": S.APP_FETCHED}),
        (used(S.APP_FETCHED), f.DataFetched(ME), CLEAN | {"status": S.DATA_FETCHED}),
        (
            used(S.DATA_FETCHED),
            f.Computed(ME, DIGEST, 7),
            CLEAN | {"status": S.COMPUTED, "digest": DIGEST, "exit_code": 7},
        ),
        (used(S.COMPUTED), f.Checked(ME), CLEAN | {"status": S.CHECKED, "failed": Step.START}),
        (used(S.CHECKED), PUBLISHED, CLEAN | {"status": S.PUBLISHED, "published": PUBLISHED}),
        (
            used(S.ABORTED),
            f.Contributed(ME, VOTES[1], 9),
            CLEAN | {"status": S.CONTRIBUTED, "vote": VOTES[1], "weight": 9},
        ),
        (
            used(S.CONTRIBUTED),
            f.Revealed(ME, DIGEST),
            CLEAN | {"status": S.REVEALED, "revealed": True},
        ),
        (
            used(S.REVEALED),
            f.UploadRequested(ME, 99),
            CLEAN | {"status": S.UPLOAD_REQUESTED, "upload_deadline": 99, "alone": False},
        ),
        (
            used(S.UPLOAD_REQUESTED),
            f.Uploaded(ME, "/ipfs/Qm", "0xab"),
            CLEAN | {"status": S.UPLOADED, "link": "/ipfs/Qm", "callback": "0xab"},
        ),
        (used(S.UPLOADED), f.Completed(ME), CLEAN | {"status": S.COMPLETED}),
    ],
)
def test_what_a_fact_changes(
    mine: Replicate, fact: f.ReplicateFact, changes: dict[str, object]
) -> None:
    assert after(mine, fact) == replace(mine, **changes)  # type: ignore[arg-type]


TERMS = Scrutiny(audit=Audit.DRAWN, digest_first=True)
MISSED = rep(S.CONTRIBUTED, scrutiny=TERMS, authorization=PERMIT)


@pytest.mark.parametrize(
    ("mine", "seen"),
    [
        (MISSED, (True, True, False)),
        (replace(MISSED, scrutiny=None), (False, False, False)),
        (replace(MISSED, scrutiny=Scrutiny(digest_first=True)), (True, False, False)),
        (replace(MISSED, scrutiny=Scrutiny(audit=Audit.DRAWN)), (False, False, False)),
        (replace(MISSED, authorization=None), (True, False, False)),
        (replace(MISSED, agreed=True), (True, False, False)),
        (replace(MISSED, agreed=False), (True, False, True)),
    ],
)
def test_how_an_audit_is_seen(mine: Replicate, seen: tuple[bool, ...]) -> None:
    assert (mine.digest_first, mine.was_missed, mine.refuted) == seen


# --- tasks ------------------------------------------------------------------------------------

T = TaskStatus
LATER = replace(DEAL, start=7)
OTHER_DEAL: Deal = replace(DEAL, id=DealId(b"\7" * 32))


@pytest.mark.parametrize(
    ("fact", "froms", "to"),
    [
        (f.Initialized(), {T.UNSET}, T.ACTIVE),
        (f.ConsensusReached(VOTES[0], 9), {T.ACTIVE}, T.REVEALING),
        (f.Reopened(), {T.REVEALING}, T.ACTIVE),
        (f.Finalized(), {T.REVEALING}, T.COMPLETED),
        (f.Claimed(), {T.ACTIVE, T.REVEALING}, T.FAILED),
    ],
)
def test_how_a_task_moves(fact: f.Fact, froms: set[TaskStatus], to: TaskStatus) -> None:
    for status in TaskStatus:
        task = decided(status=status)
        if status in froms:
            assert advance(task, fact).status is to
        else:
            said = f"^{type(fact).__name__} on a task that is {status}$"
            with pytest.raises(IllegalFact, match=said):
                advance(task, fact)


def test_a_task_is_born_once_and_may_move() -> None:
    born = advance(None, f.Ordered(DEAL, 0))
    assert born == Task(TASK, 0, DEAL)
    assert advance(active(rep()), f.Ordered(LATER, 0)) == active(rep(), deal=LATER)
    with pytest.raises(IllegalFact, match=r"is not task 0 of deal"):
        advance(born, f.Ordered(OTHER_DEAL, 0))
    with pytest.raises(IllegalFact, match="Claimed on a task that nobody bought"):
        advance(None, f.Claimed())
    with pytest.raises(IllegalFact, match="has no replicate of"):
        advance(born, f.Started(ME))
    assert fold([f.Claimed(), f.Initialized(), f.Claimed(), f.Ordered(DEAL, 0)]) == ended(
        status=T.FAILED, deal=DEAL, consensus=None, reveal_deadline=None
    )


def test_who_is_given_a_task() -> None:
    given = f.Assigned(ME, 2, PERMIT, alone=True, scrutiny=TERMS)
    mine = rep(S.ASSIGNED, authorization=PERMIT, alone=True, scrutiny=TERMS)
    others = (rep(S.STARTED, OTHER), won(S.CONTRIBUTED, THIRD))
    assert advance(unset(), given) == unset(mine)
    assert advance(active(others[0]), given) == active(others[0], mine)
    assert advance(active(*others), given) == active(*others, replace(mine, alone=False))
    voted = won(S.CONTRIBUTED)
    assert advance(active(voted), given) == active(replace(voted, authorization=PERMIT))
    for known, fact in ((mine, given), (voted, f.Assigned(ME, 2)), (mine, f.Assigned(ME, 2))):
        with pytest.raises(IllegalFact, match="already has a replicate"):
            advance(active(known), fact)


def test_a_vote_leaves_nobody_else_alone() -> None:
    one, two, three = rep(alone=True), rep(S.CHECKED, OTHER, alone=True), rep(S.STARTED, THIRD)
    task = advance(active(one, two, three), f.Contributed(ME, VOTES[0], 4))
    mine = rep(S.CONTRIBUTED, alone=True, vote=VOTES[0], weight=4)
    told = active(mine, replace(two, alone=False), three, tally=Tally({VOTES[0]: 4}))
    assert task == told
    proven = won(S.REVEALED, OTHER, alone=True)
    task = advance(active(proven, three), f.Contributed(ME, VOTES[0], 4))
    assert task.replicates[OTHER] == proven, "its vote was before"
    assert task.replicates[ME] == replace(mine, alone=False), "a vote that nobody asked for"


def test_consensus_and_reopening() -> None:
    tally = Tally({VOTES[0]: 4, VOTES[1]: 2})
    mine = won(S.CONTRIBUTED, doing=Step.REVEAL, away=GONE, held=BROKE, digest=DIGEST)
    loser = won(S.CONTRIBUTED, OTHER, vote=VOTES[1])
    task = advance(active(mine, loser, tally=tally), f.ConsensusReached(VOTES[0], 200))
    assert task == decided(mine, loser, tally=tally)
    voided = replace(mine, status=S.REJECTED, doing=None, away=None, held=None)
    assert advance(task, f.Reopened()) == active(voided, loser, tally=Tally({VOTES[1]: 2}))


def test_after_the_end_whoever_gave_up_has_done_so() -> None:
    gave_up = won(S.CONTRIBUTED, gave_up=BROKE)
    failed, other = rep(S.FAILED, OTHER, gave_up=BROKE), rep(S.STARTED, THIRD)
    dropped = replace(gave_up, status=S.ABORTED, cause=BROKE)
    for fact, status in ((f.Finalized("/ipfs/Qm"), T.COMPLETED), (f.Claimed(), T.FAILED)):
        task = advance(decided(gave_up, failed, other), fact)
        assert task == decided(dropped, failed, other, status=status)
