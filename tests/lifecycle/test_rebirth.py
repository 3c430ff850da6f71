"""A deal that a reorg moves is born again, with all that still holds about its tasks."""

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from lifecycle_lives import Rules, nothing

from tallystick.engine.engine import Engine
from tallystick.engine.journal import ChainRef, Journal
from tallystick.lifecycle.facts import (
    Assigned,
    Began,
    ConsensusReached,
    Contributed,
    Fact,
    Initialized,
    Ordered,
    Revealed,
    Step,
    Uploaded,
    UploadRequested,
)
from tallystick.lifecycle.task import Task
from tallystick.poco.deal import Deal
from tallystick.poco.values import Address, DealId, Digest, Hash

ME = Address(b"\1" * 20)
DEAL = Deal(DealId(bytes(32)), start=10, time_unit=60, trust=1)
LATER = Deal(DealId(bytes(32)), start=12, time_unit=60, trust=1)
DIGEST, VOTE = Digest(b"\7" * 32), Hash(b"\3" * 32)
STREAM = str(DEAL.task_id(0))


OPENED: list[Journal[Fact]] = []


@pytest.fixture(autouse=True)
def journals_end_with_the_test() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


def journal(path: Path) -> Journal[Fact]:
    OPENED.append(Journal[Fact](path, get_args(Fact)))
    return OPENED[-1]


def engine(path: Path) -> Engine[Task, Fact, str]:
    return Engine(journal=journal(path), rules=Rules(), perform=nothing)


def test_a_deal_bought_again_finds_its_replicates(tmp_path: Path):
    before = engine(tmp_path / "journal.db")
    before.record(STREAM, Ordered(DEAL, 0), ChainRef(1, "a", 0))
    before.record(STREAM, Assigned(ME, 2))
    before.record(STREAM, Began(ME, Step.START))
    before.roll_back(0)
    assert before.states == {}

    task = before.record(STREAM, Ordered(LATER, 0), ChainRef(2, "b", 0))

    assert task.deal == LATER
    assert task.replicates[ME].doing is Step.START
    assert engine(tmp_path / "journal.db").states == before.states


def test_what_the_chain_tells_again_revives_what_followed(tmp_path: Path):
    """The result was uploaded already: nobody is asked for it twice."""
    pool = engine(tmp_path / "journal.db")
    pool.record(STREAM, Ordered(DEAL, 0), ChainRef(1, "a", 0))
    pool.record(STREAM, Initialized(), ChainRef(2, "b", 0))
    pool.record(STREAM, Assigned(ME, 2))
    pool.record(STREAM, Contributed(ME, VOTE, 2), ChainRef(3, "c", 0))
    pool.record(STREAM, ConsensusReached(VOTE, 100), ChainRef(3, "c", 1))
    pool.record(STREAM, Revealed(ME, DIGEST), ChainRef(4, "d", 0))
    pool.record(STREAM, UploadRequested(ME, 200))
    before = pool.record(STREAM, Uploaded(ME, "/ipfs/Qm"))
    pool.roll_back(2)
    assert pool.states[STREAM].link is None

    pool.record(STREAM, Contributed(ME, VOTE, 2), ChainRef(3, "e", 0))
    pool.record(STREAM, ConsensusReached(VOTE, 100), ChainRef(3, "e", 1))
    pool.record(STREAM, Revealed(ME, DIGEST), ChainRef(5, "f", 0))

    assert pool.states[STREAM] == before
    assert engine(tmp_path / "journal.db").states == pool.states


def test_the_journal_keeps_the_order_of_the_chain(tmp_path: Path):
    """The vote weighs more on the new branch, so it is another fact, and the reveal, though
    the same, comes after it."""
    pool = engine(tmp_path / "journal.db")
    pool.record(STREAM, Ordered(DEAL, 0), ChainRef(1, "a", 0))
    pool.record(STREAM, Initialized(), ChainRef(1, "a", 1))
    pool.record(STREAM, Contributed(ME, VOTE, 2), ChainRef(2, "b", 0))
    pool.record(STREAM, Revealed(ME, DIGEST), ChainRef(3, "c", 0))
    pool.roll_back(1)

    pool.record(STREAM, Contributed(ME, VOTE, 3), ChainRef(2, "d", 0))
    task = pool.record(STREAM, Revealed(ME, DIGEST), ChainRef(3, "e", 0))

    assert task.replicates[ME].revealed
    assert engine(tmp_path / "journal.db").states == pool.states
