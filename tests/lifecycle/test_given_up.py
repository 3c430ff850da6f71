"""What a worker or a scheduler says while the chain is set back stays in the journal, behind or
before a vote that the chain tells again: in every order, a vote that stands is revealed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import pytest
from lifecycle_lives import Rules, nothing

from tallystick.engine.engine import Engine
from tallystick.engine.journal import ChainRef, Journal
from tallystick.lifecycle import agenda, views
from tallystick.lifecycle import facts as f
from tallystick.lifecycle.replicate import Status
from tallystick.lifecycle.task import Task
from tallystick.poco.contribution import result_hash
from tallystick.poco.deal import Deal
from tallystick.poco.values import Address, DealId, Digest

ME, OTHER = Address(b"\1" * 20), Address(b"\2" * 20)
DEAL = Deal(DealId(bytes(32)), start=0, time_unit=60, trust=1)
TASK, DIGEST = DEAL.task_id(0), Digest(b"\7" * 32)
STREAM, VOTE = str(TASK), result_hash(TASK, DIGEST)
COMPUTED: tuple[f.Fact, ...] = (
    f.Assigned(ME, 2),
    f.Started(ME),
    f.AppFetched(ME),
    f.DataFetched(ME),
    f.Computed(ME, DIGEST, 0),
)
VOTED, HEAVIER = f.Contributed(ME, VOTE, 2), f.Contributed(ME, VOTE, 3)
WON, LATER = f.ConsensusReached(VOTE, 200), f.ConsensusReached(VOTE, 206)
PROVED = f.Revealed(ME, DIGEST)
REVEAL = agenda.Do(TASK, f.Step.REVEAL, DIGEST)


class Party:
    """A worker or a scheduler, its journal, and the chain as it follows it."""

    def __init__(self, path: Path) -> None:
        self._path, self._forks, self._head = path, 0, 1
        self._open()
        births: tuple[f.Fact, ...] = (f.Ordered(DEAL, 0), f.Initialized())
        for block, fact in enumerate(births):
            self.engine.record(STREAM, fact, ChainRef(block, f"first {block}", 0))
        self.says(*COMPUTED)

    def _open(self) -> None:
        self.journal = Journal[f.Fact](self._path, get_args(f.Fact))
        self.engine = Engine[Task, f.Fact, str](
            journal=self.journal, rules=Rules(), perform=nothing
        )

    def crashes(self) -> None:
        self.journal.close()
        self._open()

    def sees(self, *facts: f.Fact) -> None:
        """One block each."""
        for fact in facts:
            self._head += 1
            place = ChainRef(self._head, f"{self._forks} {self._head}", 0)
            self.engine.record(STREAM, fact, place)

    def set_back(self) -> None:
        """To where the task was opened."""
        self._forks, self._head = self._forks + 1, 1
        self.engine.roll_back(1)

    def says(self, *facts: f.Fact) -> None:
        for fact in facts:
            self.engine.record(STREAM, fact)

    @property
    def task(self) -> Task:
        return self.engine.states[STREAM]

    @property
    def mine(self) -> Status:
        return self.task.replicates[ME].status

    @property
    def owed(self) -> list[agenda.WorkerCommand]:
        return list(agenda.owed_by_worker(self.task, ME, now=100))


@pytest.fixture
def party(tmp_path: Path) -> Iterator[Party]:
    party = Party(tmp_path / "journal.db")
    yield party
    party.journal.close()


GIVEN_UP: list[tuple[f.Fact, ...]] = [
    (f.Aborted(ME, "CONTRIBUTION_TIMEOUT"),),
    (f.Aborted(ME, "CONSENSUS_REACHED"),),
    (f.Aborted(ME, "ABORTED_BY_WORKER"),),
    (f.Failed(ME, f.Step.CHECK, "TASK_NOT_ACTIVE"),),
    (f.Began(ME, f.Step.CONTRIBUTE), f.Failed(ME, f.Step.CONTRIBUTE, "CHAIN_UNREACHABLE")),
]
BEFORE: list[tuple[f.Fact, ...]] = [(VOTED,), (VOTED, WON), (VOTED, WON, PROVED), ()]
AGAIN: list[tuple[f.Fact, ...]] = [(VOTED, WON), (VOTED, LATER), (HEAVIER, WON)]


@pytest.mark.parametrize("again", AGAIN)
@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("given_up", GIVEN_UP)
@pytest.mark.parametrize("crash", [Party.crashes, lambda _: None])
def test_a_vote_that_comes_again_is_revealed(
    party: Party,
    crash: Callable[[Party], None],
    given_up: tuple[f.Fact, ...],
    before: tuple[f.Fact, ...],
    again: tuple[f.Fact, ...],
) -> None:
    """It takes its old place, before the giving up, or a new one: when it weighs more, or when
    it was not mined before."""
    party.sees(*before)
    party.set_back()
    crash(party)
    party.says(*given_up)
    crash(party)
    party.sees(*again)
    crash(party)
    assert (party.mine, party.owed) == (Status.CONTRIBUTED, [REVEAL])
    assert list(agenda.overdue(party.task, 206)) == [f.RevealOverdue(ME)]

    party.says(f.Began(ME, f.Step.REVEAL))
    party.sees(PROVED)
    crash(party)
    assert list(agenda.owed_by_pool(party.task, 100)) == [agenda.RequestUpload(TASK, ME)]
    party.says(f.UploadRequested(ME, 220))
    assert party.owed == [agenda.Do(TASK, f.Step.UPLOAD)]
    party.says(f.Began(ME, f.Step.UPLOAD), f.Uploaded(ME, "/ipfs/Qm"))
    party.sees(f.Finalized("/ipfs/Qm"))
    assert party.owed == [agenda.Do(TASK, f.Step.COMPLETE)]


@pytest.mark.parametrize("upload", [(), (f.UploadRequested(ME, 220),)])
def test_a_proof_that_comes_again_stands(party: Party, upload: tuple[f.Fact, ...]) -> None:
    """What followed from it goes on: the result is brought."""
    party.sees(VOTED, WON, PROVED)
    party.says(*upload)
    party.set_back()
    party.says(f.Aborted(ME, "CONTRIBUTION_TIMEOUT"))
    party.sees(VOTED, WON, PROVED)
    assert party.mine is (Status.UPLOAD_REQUESTED if upload else Status.REVEALED)
    assert party.owed == ([agenda.Do(TASK, f.Step.UPLOAD)] if upload else [])
    due = [] if upload else [agenda.RequestUpload(TASK, ME)]
    assert list(agenda.owed_by_pool(party.task, 100)) == due


@pytest.mark.parametrize(
    ("before", "cause"),
    [
        ((VOTED, f.Claimed()), "CONTRIBUTION_TIMEOUT"),
        ((VOTED, WON, f.Claimed()), "CONSENSUS_REACHED"),
    ],
)
@pytest.mark.parametrize("again", AGAIN)
def test_an_end_that_is_taken_back_is_none(
    party: Party, before: tuple[f.Fact, ...], cause: str, again: tuple[f.Fact, ...]
) -> None:
    """The worker has tidied up; the digest is in its journal."""
    party.sees(*before)
    assert party.owed == [agenda.Abort(TASK, cause)]
    party.says(f.Aborted(ME, cause))
    assert party.mine is Status.ABORTED
    party.set_back()
    party.sees(*again)
    assert (party.mine, party.owed) == (Status.CONTRIBUTED, [REVEAL])


@pytest.mark.parametrize("before", BEFORE[1:])
@pytest.mark.parametrize("end", [f.Finalized(), f.Claimed()])
def test_whoever_gave_up_has_ended_with_the_task(
    party: Party, before: tuple[f.Fact, ...], end: f.Fact
) -> None:
    """It will not say again that it dropped the replicate, nor is it waited for."""
    party.sees(*before)
    party.set_back()
    party.says(f.Aborted(ME, "CONTRIBUTION_TIMEOUT"))
    party.sees(VOTED, WON)
    party.says(f.Lost(ME))
    party.sees(end)
    mine = party.task.replicates[ME]
    assert (mine.status, mine.cause) == (Status.ABORTED, "CONTRIBUTION_TIMEOUT")
    assert mine.away is None
    assert party.owed == []


@pytest.mark.parametrize(
    ("before", "name"),
    [
        ((), "ABORTED_ON_CONTRIBUTION_TIMEOUT"),
        ((f.Began(ME, f.Step.REVEAL),), "FAILED"),
    ],
)
@pytest.mark.parametrize("ends_first", [True, False])
def test_a_reveal_that_was_dropped_is_no_vote_that_came_too_late(
    party: Party, before: tuple[f.Fact, ...], name: str, ends_first: bool
) -> None:
    """Whichever was heard first, the end of the task or the worker's word."""
    dropped = f.Aborted(ME, "CONTRIBUTION_TIMEOUT")
    party.sees(VOTED, WON)
    party.says(*before)
    if ends_first:
        party.sees(f.Claimed())
        party.says(dropped)
    else:
        party.says(dropped)
        party.sees(f.Claimed())
    mine = party.task.replicates[ME]
    assert (mine.status, views.seed(mine)) == (Status.ABORTED, name)


def test_a_loser_that_gave_up_owes_nothing_until_it_wins(party: Party) -> None:
    other = result_hash(TASK, Digest(b"\6" * 32))
    lost = (VOTED, f.ConsensusReached(other, 200))
    party.sees(*lost)
    party.says(f.Aborted(ME, "CONSENSUS_REACHED"))
    assert (party.mine, party.owed) == (Status.CONTRIBUTED, [])
    party.sees(f.Reopened(), LATER)
    assert party.owed == [REVEAL]


def test_who_was_too_late_for_one_consensus_is_not_for_the_next(party: Party) -> None:
    """The pool noted that nobody revealed, and a reorg brings another consensus, or it."""
    party.sees(VOTED, WON)
    party.says(f.RevealOverdue(ME))
    assert (party.mine, party.owed) == (Status.FAILED, [])
    party.set_back()
    party.sees(VOTED, LATER)
    assert (party.mine, party.owed) == (Status.CONTRIBUTED, [REVEAL])
    party.set_back()
    party.sees(VOTED, WON)
    assert party.mine is Status.FAILED


def test_whoever_did_not_give_up_uploads_first(party: Party) -> None:
    hers = f.Contributed(OTHER, VOTE, 2)
    party.sees(VOTED, hers, WON, PROVED, f.Revealed(OTHER, DIGEST))
    assert list(agenda.owed_by_pool(party.task, 100)) == [agenda.RequestUpload(TASK, ME)]
    party.says(f.Aborted(ME, "UNKNOWN"))
    assert list(agenda.owed_by_pool(party.task, 100)) == [agenda.RequestUpload(TASK, OTHER)]


DONE, PAID = f.Completed(ME), f.Finalized("/ipfs/Qm")
UPLOADED: tuple[f.Fact, ...] = (f.UploadRequested(ME, 220), f.Uploaded(ME, "/ipfs/Qm"))


@pytest.mark.parametrize("before", [*BEFORE, (VOTED, WON, PROVED, PAID)])
@pytest.mark.parametrize("again", AGAIN[1:])
def test_who_is_done_has_ended_with_the_task(
    party: Party, before: tuple[f.Fact, ...], again: tuple[f.Fact, ...]
) -> None:
    """It told it once, of a branch that the other side did not know yet, or that was left."""
    party.sees(*before)
    if PROVED in before:
        party.says(*UPLOADED)
    party.says(DONE)
    party.set_back()
    party.crashes()
    party.sees(*again, PROVED)
    assert party.mine is Status.REVEALED
    party.sees(PAID)
    assert (party.mine, party.owed) == (Status.COMPLETED, [])
    party.crashes()
    assert (party.mine, party.owed) == (Status.COMPLETED, [])


@pytest.mark.parametrize(
    ("then", "end"),
    [
        ((f.Began(ME, f.Step.CONTRIBUTE), VOTED, WON, PROVED), PAID),
        ((VOTED, WON, PROVED), f.Claimed()),
        ((VOTED, WON), PAID),
    ],
)
def test_who_went_on_or_was_not_paid_is_not_done(
    party: Party, then: tuple[f.Fact, ...], end: f.Fact
) -> None:
    """There may be files again, or a stake that is lost."""
    party.says(DONE)
    for fact in then:
        if isinstance(fact, f.Began):
            party.says(fact)
        else:
            party.sees(fact)
    party.sees(end)
    assert party.mine is not Status.COMPLETED


def test_who_says_that_it_is_done_is_not_asked_to_do_less(party: Party) -> None:
    """Whoever says so before it has voted, or proved it, owes what it owed."""
    before = party.owed
    party.says(DONE)
    assert party.owed == before
    party.sees(VOTED, WON)
    assert party.owed == [REVEAL]
