"""What a replicate in some state is called, in the words of v9 and in those of the seed."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from lifecycle_lives import DEAL, DIGESTS, VOTES, WORKERS
from lifecycle_states import S, rep

from tallystick.lifecycle import facts as f
from tallystick.lifecycle.facts import Step
from tallystick.lifecycle.history import Row, authority, history, names
from tallystick.lifecycle.meanings import MEANINGS
from tallystick.lifecycle.replicate import Replicate, Status
from tallystick.lifecycle.views import modern, seed, seed_names
from tallystick.lifecycle.vocabulary import GRAPHS, Vocabulary, way

A, B, _ = WORKERS
AT_ONCE, DONE, UNDONE = (
    f"CONTRIBUTE_AND_FINALIZE_{how}" for how in ("ONGOING", "DONE", "FAILED")
)
CANT = "CANT_CONTRIBUTE_SINCE_"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (S.ASSIGNED, "CREATED"),
        (S.STARTED, "STARTED RUNNING"),
        (S.APP_FETCHED, "APP_DOWNLOADED"),
        (S.DATA_FETCHED, "DATA_DOWNLOADED"),
        (S.COMPUTED, "COMPUTED"),
        (S.CHECKED, "COMPUTED CAN_CONTRIBUTE"),
        (S.PUBLISHED, f"{AT_ONCE} CONTRIBUTING"),
        (S.CONTRIBUTED, "CONTRIBUTED"),
        (S.REVEALED, "REVEALED"),
        (S.UPLOAD_REQUESTED, "RESULT_UPLOAD_REQUESTED"),
        (S.UPLOADED, "RESULT_UPLOADED"),
        (S.COMPLETED, "COMPLETED"),
        (S.REJECTED, "FAILED"),
        (S.ABORTED, "ABORTED FAILED"),
        (S.FAILED, "FAILED"),
    ],
)
def test_what_was_achieved(status: Status, words: str) -> None:
    mine = rep(status)
    name, *other = words.split()
    assert (modern(mine), seed(mine)) == (name, *(other or [name]))
    alone = rep(status, alone=True)
    assert modern(alone) == (DONE if status in (S.CONTRIBUTED, S.REVEALED) else name)
    assert seed(alone) == seed(mine)
    for away, called in ((f.Lost(A), "WORKER_LOST"), (f.Recovering(A), "RECOVERING")):
        gone = rep(status, away=away, held="OUT_OF_GAS")
        assert (modern(gone), seed_names(gone)) == (called, (called,))


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (Step.START, "STARTING RUNNING"),
        (Step.FETCH_APP, "APP_DOWNLOADING"),
        (Step.FETCH_DATA, "DATA_DOWNLOADING"),
        (Step.COMPUTE, "COMPUTING"),
        (Step.CHECK, "COMPUTED"),
        (Step.PUBLISH, f"{AT_ONCE} CONTRIBUTING"),
        (Step.FINISH, f"{AT_ONCE} CONTRIBUTING"),
        (Step.CONTRIBUTE, "CONTRIBUTING"),
        (Step.REVEAL, "REVEALING"),
        (Step.UPLOAD, "RESULT_UPLOADING"),
        (Step.COMPLETE, "COMPLETING REVEALED"),
    ],
)
def test_what_is_under_way(step: Step, words: str) -> None:
    mine = rep(S.COMPUTED, doing=step)
    name, *other = words.split()
    assert (modern(mine), seed_names(mine)) == (name, (*(other or [name]),))


def failed(step: Step, cause: str = "OTHER", **known: object) -> Replicate:
    return rep(S.FAILED, **{"failed": step, "cause": cause} | known)


POOR, TIRED, SHUT = "OUT_OF_GAS", "DETERMINISM_HASH_NOT_FOUND", "TEE_EXECUTION_NOT_VERIFIED"
NO_HASH, NO_TEE = CANT + TIRED, CANT + SHUT


@pytest.mark.parametrize(
    ("mine", "words"),
    [
        (failed(Step.START), "START_FAILED FAILED"),
        (failed(Step.START, "STAKE_TOO_LOW"), f"START_FAILED {CANT}STAKE_TOO_LOW"),
        (failed(Step.START, POOR), "START_FAILED FAILED"),
        (failed(Step.FETCH_APP), "APP_DOWNLOAD_FAILED APP_DOWNLOAD_FAILED"),
        (failed(Step.FETCH_APP, TIRED), f"APP_DOWNLOAD_FAILED APP_DOWNLOAD_FAILED {NO_HASH}"),
        (failed(Step.FETCH_APP, SHUT), "APP_DOWNLOAD_FAILED APP_DOWNLOAD_FAILED"),
        (
            failed(Step.FETCH_DATA, TIRED),
            f"DATA_DOWNLOAD_FAILED DATA_DOWNLOAD_FAILED {NO_HASH}",
        ),
        (failed(Step.COMPUTE), "COMPUTE_FAILED COMPUTE_FAILED"),
        (failed(Step.COMPUTE, SHUT), f"COMPUTE_FAILED COMPUTE_FAILED {NO_TEE}"),
        (failed(Step.COMPUTE, POOR), "COMPUTE_FAILED COMPUTE_FAILED"),
        (failed(Step.CHECK), "CONTRIBUTE_FAILED CONTRIBUTE_FAILED"),
        (failed(Step.CHECK, POOR), "CONTRIBUTE_FAILED CAN_CONTRIBUTE OUT_OF_GAS"),
        (failed(Step.CHECK, TIRED, begun=True), f"CONTRIBUTE_FAILED {NO_HASH}"),
        (failed(Step.CHECK, "CANNOT_REVEAL"), "CONTRIBUTE_FAILED CONTRIBUTE_FAILED"),
        (failed(Step.CHECK, alone=True), f"{UNDONE} CONTRIBUTE_FAILED"),
        (failed(Step.CONTRIBUTE, POOR), "CONTRIBUTE_FAILED CAN_CONTRIBUTE OUT_OF_GAS"),
        (failed(Step.CONTRIBUTE, POOR, begun=True), "CONTRIBUTE_FAILED CONTRIBUTE_FAILED"),
        (failed(Step.CONTRIBUTE, TIRED), f"CONTRIBUTE_FAILED {NO_HASH}"),
        (failed(Step.CONTRIBUTE, TIRED, begun=True), "CONTRIBUTE_FAILED CONTRIBUTE_FAILED"),
        (failed(Step.CONTRIBUTE, alone=True), f"{UNDONE} CONTRIBUTE_FAILED"),
        (failed(Step.PUBLISH), f"{UNDONE} CONTRIBUTE_FAILED"),
        (failed(Step.PUBLISH, TIRED), f"{UNDONE} CONTRIBUTE_FAILED"),
        (failed(Step.PUBLISH, TIRED, alone=True), f"{UNDONE} CONTRIBUTE_FAILED"),
        (failed(Step.FINISH, TIRED), f"{UNDONE} CONTRIBUTE_FAILED"),
        (failed(Step.REVEAL), "REVEAL_FAILED REVEAL_FAILED"),
        (failed(Step.REVEAL, POOR), "REVEAL_FAILED OUT_OF_GAS"),
        (failed(Step.REVEAL, POOR, begun=True), "REVEAL_FAILED REVEAL_FAILED"),
        (failed(Step.REVEAL, "CANNOT_REVEAL"), "REVEAL_FAILED CANT_REVEAL"),
        (failed(Step.REVEAL, TIRED), "REVEAL_FAILED REVEAL_FAILED"),
        (failed(Step.REVEAL, "REVEAL_TIMEOUT"), "REVEAL_FAILED REVEAL_FAILED"),
        (failed(Step.UPLOAD), "RESULT_UPLOAD_FAILED RESULT_UPLOAD_FAILED"),
        (failed(Step.COMPLETE), "COMPLETE_FAILED COMPLETED"),
        (failed(Step.START, None), "START_FAILED FAILED"),  # type: ignore[arg-type]
        (
            rep(S.UPLOAD_REQUESTED, failed=Step.UPLOAD),
            "RESULT_UPLOAD_FAILED RESULT_UPLOAD_REQUEST_FAILED",
        ),
        (
            rep(S.UPLOAD_REQUESTED, failed=Step.UPLOAD, begun=True),
            "RESULT_UPLOAD_FAILED RESULT_UPLOAD_FAILED",
        ),
        (rep(S.COMPUTED, failed=Step.FETCH_APP), "APP_DOWNLOAD_FAILED APP_DOWNLOAD_FAILED"),
        (rep(S.CHECKED, failed=Step.FETCH_APP), "APP_DOWNLOAD_FAILED CAN_CONTRIBUTE"),
        # Ends that are no failure of a step.
        (rep(S.FAILED, cause="REVEAL_TIMEOUT"), "FAILED REVEAL_TIMEOUT"),
        (rep(S.FAILED, cause="AUDIT_DIFFERED"), "FAILED FAILED"),
        (rep(S.ABORTED, cause="CONSENSUS_REACHED"), "ABORTED ABORTED_ON_CONSENSUS_REACHED"),
        (
            rep(S.ABORTED, cause="CONTRIBUTION_TIMEOUT"),
            "ABORTED ABORTED_ON_CONTRIBUTION_TIMEOUT",
        ),
        (rep(S.ABORTED, cause="OTHER"), "ABORTED FAILED"),
        (rep(S.ABORTED, cause="CONSENSUS_REACHED", begun=True), "ABORTED FAILED"),
        (rep(S.ABORTED, cause="CONSENSUS_REACHED", revealed=True), "ABORTED FAILED"),
        # What holds a step up.
        (rep(S.CONTRIBUTED, held=POOR), "CONTRIBUTED OUT_OF_GAS"),
        (rep(S.CONTRIBUTED, doing=Step.REVEAL, held=POOR), "REVEALING OUT_OF_GAS"),
        (rep(S.CONTRIBUTED, doing=Step.REVEAL, held="OTHER"), "REVEALING REVEALING"),
        (rep(S.UPLOADED, doing=Step.COMPLETE, link="/ipfs/Qm"), "COMPLETING RESULT_UPLOADED"),
    ],
)
def test_what_failed_and_how_it_ended(mine: Replicate, words: str) -> None:
    name, *other = words.split()
    assert (modern(mine), seed_names(mine)) == (name, tuple(other))


@pytest.mark.parametrize(
    ("vocabulary", "before", "after", "between"),
    [
        ("seed", "CREATED", "RUNNING", ()),
        (
            "seed",
            "CREATED",
            "COMPUTING",
            (
                "RUNNING",
                "APP_DOWNLOADING",
                "APP_DOWNLOADED",
                "DATA_DOWNLOADING",
                "DATA_DOWNLOADED",
            ),
        ),
        (
            "modern",
            "COMPUTED",
            "COMPLETED",
            ("CONTRIBUTING", "CONTRIBUTED", "REVEALING", "REVEALED", "COMPLETING"),
        ),
        ("modern", "COMPUTED", DONE, (AT_ONCE,)),
        ("modern", AT_ONCE, "COMPLETED", (DONE, "COMPLETING")),
        ("modern", "COMPUTED", UNDONE, (AT_ONCE,)),
        ("seed", "CONTRIBUTE_FAILED", "COMPUTED", ("WORKER_LOST", "RECOVERING")),
        ("modern", "REVEALED", "CONTRIBUTED", ("RECOVERING",)),
        ("modern", "COMPUTE_FAILED", "COMPUTED", ("WORKER_LOST",)),
        # One that came back may have any name but the first two: that goes in circles.
        ("modern", "STARTED", "CREATED", ("WORKER_LOST",)),
        ("modern", "COMPLETED", "CREATED", None),
    ],
)
def test_the_way_from_one_name_to_another(
    vocabulary: Vocabulary, before: str, after: str, between: tuple[str, ...] | None
) -> None:
    assert way(vocabulary, before, after) == between


def test_every_name_is_explained() -> None:
    assert MEANINGS.keys() == GRAPHS["seed"].keys() | GRAPHS["modern"].keys()


# --- histories --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ref:
    block: int
    tx: str


@dataclass(frozen=True)
class Entry:
    fact: f.Fact
    at: float
    ref: Ref | None = None


def test_who_says_what() -> None:
    told = {
        type(fact).__name__: authority(fact)
        for fact in (
            *(f.Assigned(A, 2), f.Lost(A), f.Audited(A, agreed=True), f.Authorized(A, None)),  # type: ignore[arg-type]
            *(f.Initialized(), f.Revealed(A, DIGESTS[0]), f.Started(A), f.Aborted(A, "OTHER")),
        )
    }
    assert told == {
        **dict.fromkeys(("Assigned", "Lost", "Audited", "Authorized"), "pool manager"),
        **dict.fromkeys(("Initialized", "Revealed"), "chain"),
        **dict.fromkeys(("Started", "Aborted"), "worker"),
    }


def told_of(*facts: f.Fact, last: Ref | None = None) -> list[Row]:
    """The history of A, told a second apart; B has a replicate as well."""
    entries = [Entry(fact, float(at)) for at, fact in enumerate(facts)]
    entries[-1] = Entry(facts[-1], entries[-1].at, last)
    found = history(entries)
    assert list(found[B]) == [Row(2.0, "pool manager", "Assigned", ("CREATED",), ("CREATED",))]
    return list(found[A])


BOTH: list[f.Fact] = [f.Ordered(DEAL, 0), f.Initialized(), f.Assigned(B, 2), f.Assigned(A, 2)]


def row(at: int, by: str, fact: str, seed: str, modern: str, **known: object) -> Row:
    return Row(float(at), by, fact, tuple(seed.split()), tuple(modern.split()), **known)  # type: ignore[arg-type]


BORN = row(3, "pool manager", "Assigned", "CREATED", "CREATED")


def test_each_row_tells_who_what_when_and_why() -> None:
    rows = told_of(
        *BOTH,
        f.Completed(A),  # cannot be
        f.Began(A, Step.START),
        f.Started(A),
        f.Lost(A),
        f.Recovering(A),
        f.Began(A, Step.FETCH_APP),
        f.Failed(A, Step.FETCH_APP, "OTHER"),
        f.Contributed(A, VOTES[0], 2),
        last=Ref(7, "0xab"),
    )
    fetching = "APP_DOWNLOADING"
    assert rows == [
        BORN,
        row(5, "worker", "Began", "RUNNING", "STARTING"),
        row(6, "worker", "Started", "", "STARTED"),
        row(7, "pool manager", "Lost", "WORKER_LOST", "WORKER_LOST"),
        row(8, "pool manager", "Recovering", "RECOVERING", "RECOVERING"),
        row(9, "worker", "Began", fetching, fetching),
        row(
            10, "worker", "Failed", "APP_DOWNLOAD_FAILED", "APP_DOWNLOAD_FAILED", cause="OTHER"
        ),
        row(
            11,
            "chain",
            "Contributed",
            "CONTRIBUTED",
            "CONTRIBUTED",
            block=7,
            tx="0xab",
            reborn=True,
        ),
    ]


def test_an_end_that_nobody_told_has_its_cause() -> None:
    *_, last = told_of(
        *BOTH,
        f.Contributed(A, VOTES[0], 2),
        f.ConsensusReached(VOTES[0], 9),
        f.RevealOverdue(A),
    )
    assert last == row(
        6, "pool manager", "RevealOverdue", "REVEAL_TIMEOUT", "FAILED", cause="REVEAL_TIMEOUT"
    )


def test_what_holds_a_step_up_is_told_aside() -> None:
    held = f.Held(A, Step.REVEAL, "OUT_OF_GAS")
    upto = (
        *BOTH,
        f.Contributed(A, VOTES[0], 2),
        f.ConsensusReached(VOTES[0], 9),
        f.Began(A, Step.REVEAL),
    )
    rows = told_of(*upto, held, f.Resumed(A), f.Revealed(A, DIGESTS[0]))
    assert rows[-3:] == [
        row(7, "worker", "Held", "OUT_OF_GAS", "", cause="OUT_OF_GAS", aside=True),
        row(8, "worker", "Resumed", "REVEALING", "", aside=True),
        row(9, "chain", "Revealed", "REVEALED", "REVEALED"),
    ]
    assert list(names(rows[-3:], "seed")) == ["REVEALED"]
    assert list(names(rows[-3:], "modern")) == ["REVEALED"]
    assert list(names([BORN], "seed")) == ["CREATED"]
    lost = told_of(*upto, held, f.Lost(A))
    assert lost[-1] == row(8, "pool manager", "Lost", "WORKER_LOST", "WORKER_LOST")


def test_a_worker_that_comes_back_to_its_start_starts_once() -> None:
    rows = told_of(*BOTH, f.Recovering(A), f.Began(A, Step.START), f.Started(A))
    assert rows[1:] == [
        row(4, "pool manager", "Recovering", "RECOVERING", "RECOVERING"),
        row(5, "worker", "Began", "RUNNING", ""),
        row(6, "worker", "Started", "", "STARTED"),
    ]


def test_what_was_told_before_is_not_told_again() -> None:
    computed = (f.Started(A), f.AppFetched(A), f.DataFetched(A), f.Computed(A, DIGESTS[0]))
    poor = f.Failed(A, Step.CONTRIBUTE, "OUT_OF_GAS")
    *_, checked, failed = told_of(*BOTH, *computed, f.Checked(A), poor)
    assert checked.seed == ("CAN_CONTRIBUTE",)
    assert failed.seed == ("OUT_OF_GAS",)
    assert failed.modern == ("CONTRIBUTING", "CONTRIBUTE_FAILED")
