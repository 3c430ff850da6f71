"""A journal that an earlier release wrote means what it meant then."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from tallystick.engine.journal import ChainRef, Journal
from tallystick.lifecycle.facts import Fact, Finalized
from tallystick.lifecycle.history import history, names
from tallystick.lifecycle.replicate import Status
from tallystick.lifecycle.task import Task, TaskStatus, fold
from tallystick.lifecycle.vocabulary import LADDERS
from tallystick.poco.values import Address

ME = Address(b"\1" * 20)
WRITTEN = Path(__file__).parent / "journal_0.sql"
"""By release 0.1, before workers checked their votes: format 0, a dump of the file."""


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal[Fact]]:
    old = sqlite3.connect(tmp_path / "journal.db")
    old.executescript(WRITTEN.read_text())
    old.close()
    opened = Journal[Fact](tmp_path / "journal.db", get_args(Fact))
    yield opened
    opened.close()


def streams(journal: Journal[Fact]) -> list[str]:
    return list(dict.fromkeys(entry.stream for entry in journal.read()))


def task_in(journal: Journal[Fact], stream: str) -> Task:
    task = fold(entry.fact for entry in journal.read(stream=stream))
    assert task is not None
    return task


def test_its_tasks_ended_as_they_did(journal: Journal[Fact]):
    """As the release that wrote them folded them."""
    tasks = [task_in(journal, stream) for stream in streams(journal)]
    mine = [task.replicates[ME] for task in tasks]
    assert [task.status for task in tasks] == [
        *(TaskStatus.COMPLETED, TaskStatus.ACTIVE, TaskStatus.FAILED)
    ]
    assert [r.status for r in mine] == [Status.COMPLETED, Status.FAILED, Status.ABORTED]
    assert [r.cause for r in mine] == [None, "OUT_OF_GAS", "CONTRIBUTION_TIMEOUT"]
    assert mine[0].link == "/ipfs/Qm"
    assert all(r.digest for r in mine)


def test_its_histories_have_no_gap(journal: Journal[Fact]):
    """CAN_CONTRIBUTE is implied by the vote: no release before had a fact for it."""
    first = streams(journal)[0]
    (rows,) = history(journal.read(stream=first)).values()
    assert tuple(names(rows, "seed")) == LADDERS["seed"]
    assert tuple(names(rows, "modern")) == LADDERS["modern"]


def test_it_is_written_on_with_transactions(journal: Journal[Fact]):
    second = streams(journal)[1]
    ref = ChainRef(99, "0x99", 0, "0xabcd")
    journal.append(second, Finalized(), at=2_000.0, ref=ref)
    *old, new = journal.read(stream=second)
    assert new.ref == ref
    assert {entry.ref.tx for entry in old if entry.ref} == {None}
