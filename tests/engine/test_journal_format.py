"""The journal's file: its format, what a later version wrote, and a disk that is full."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, get_args

import anyio
import pytest
from trio.testing import MockClock

from tallystick.engine.engine import Engine
from tallystick.engine.errors import DiskTrouble
from tallystick.engine.journal import FORMAT, Journal, NewerJournal
from tallystick.lifecycle import agenda
from tallystick.lifecycle.facts import Assigned, Fact, Initialized, Ordered, Started
from tallystick.lifecycle.replicate import Status
from tallystick.lifecycle.task import Task, TaskStatus, advance, fold
from tallystick.poco.deal import Deal
from tallystick.poco.values import Address, DealId

KINDS = get_args(Fact)
ME = Address(b"\1" * 20)
DEAL = Deal(DealId(bytes(32)), start=0, time_unit=36_000, trust=1)
STREAM = str(DEAL.task_id(0))


def fixture(number: int) -> str:
    """A worker's journal of one paid task, as a format keeps it. Written once, never again:
    when the format changes, a file of the new one is added, and the old ones still open."""
    return Path(__file__).with_name(f"journal-{number}.sql").read_text()


def opened(path: Path) -> Journal[Fact]:
    return Journal[Fact](path, KINDS)


def from_text(path: Path, text: str) -> Path:
    with closing(sqlite3.connect(path)) as db:
        db.executescript(text)
    return path


def format_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return db.execute("PRAGMA user_version").fetchone()[0]


@pytest.mark.parametrize("number", range(1, FORMAT + 1))
def test_a_journal_of_any_format_opens_with_all_its_facts(tmp_path: Path, number: int):
    path = from_text(tmp_path / "journal.db", fixture(number))
    with closing(opened(path)) as journal:
        facts = [entry.fact for entry in journal.read()]
        assert journal.noted("told the scheduler up to") == "29"
    task = fold(facts)
    assert task is not None
    assert task.status is TaskStatus.COMPLETED
    (mine,) = task.replicates.values()
    assert mine.status is Status.COMPLETED
    assert mine.digest is not None
    assert format_of(path) == FORMAT


def test_a_new_journal_has_the_present_format(tmp_path: Path):
    opened(tmp_path / "journal.db").close()
    assert format_of(tmp_path / "journal.db") == FORMAT


def test_a_journal_from_before_formats_were_numbered_is_brought_up_to_date(tmp_path: Path):
    """Such files also exist without the table of timings."""
    old = fixture(1).replace("PRAGMA user_version=1;", "")
    path = from_text(tmp_path / "journal.db", old + "DROP TABLE timings;")
    assert format_of(path) == 0
    with closing(opened(path)) as journal:
        journal.timing("tell", STREAM, 1.0, 2.0)
        assert journal.timings(STREAM) == [("tell", 1.0, 2.0)]
        assert fold(entry.fact for entry in journal.read()) is not None
    assert format_of(path) == FORMAT


def test_a_journal_of_a_later_format_is_left_alone(tmp_path: Path):
    path = from_text(tmp_path / "journal.db", f"PRAGMA user_version={FORMAT + 1};")
    before = path.read_bytes()
    with pytest.raises(NewerJournal, match="use the version that wrote it, or a newer one"):
        opened(path)
    assert path.read_bytes() == before


def test_a_fact_of_a_later_version_is_told_in_a_sentence(tmp_path: Path):
    with closing(opened(tmp_path / "journal.db")) as journal:
        journal.append(STREAM, Initialized(), at=0)
    with closing(sqlite3.connect(tmp_path / "journal.db")) as db, db:
        db.execute("UPDATE facts SET kind = 'Teleported'")
    with (
        closing(opened(tmp_path / "journal.db")) as journal,
        pytest.raises(NewerJournal, match="'Teleported', which this version does not know"),
    ):
        list(journal.read())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with little room."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small file system takes root")
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path) -> Path:
    """No room is left until the file is removed."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue
    return filler


def test_on_a_full_disk_nothing_is_accepted_and_afterwards_everything(small_disk: Path):
    with closing(opened(small_disk / "journal.db")) as journal:
        journal.append(STREAM, Initialized(), at=0)
        filler = fill(small_disk)
        refused = 0
        for number in range(200):  # until what the write-ahead log had in reserve is used up
            try:
                journal.note("a note", "x" * 3000 + str(number))
            except DiskTrouble:
                refused += 1
        assert refused
        assert isinstance(journal.trouble, DiskTrouble)
        assert "is its disk full?" in str(journal.trouble)
        filler.unlink()
        journal.append(STREAM, Started(ME), at=0)
        assert journal.trouble is None
        assert [type(entry.fact) for entry in journal.read()] == [Initialized, Started]


class Rules:
    fold = staticmethod(fold)
    advance = staticmethod(advance)

    def agenda(self, task: Task) -> Any:
        return agenda.owed_by_worker(task, ME, 0)

    def begins(self, task: Task, command: agenda.WorkerCommand) -> Fact | None:
        return None


class Full(Journal[Fact]):
    """A journal whose disk is full for a while."""

    full = False

    def append(self, stream: str, fact: Fact, **more: Any) -> int | None:
        if self.full:
            raise DiskTrouble("no room")
        return super().append(stream, fact, **more)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "anyio_backend", [("trio", {"clock": MockClock(autojump_threshold=0)})], ids=["trio"]
)
async def test_what_was_done_but_cannot_be_written_is_done_once_and_told_later(
    tmp_path: Path, anyio_backend: Any, caplog: pytest.LogCaptureFixture
):
    done: list[agenda.WorkerCommand] = []

    async def perform(command: agenda.WorkerCommand) -> Fact | None:
        done.append(command)
        await anyio.sleep(1)
        if len(done) > 1:
            await anyio.sleep_forever()
        return Started(ME)

    with closing(Full(tmp_path / "journal.db", KINDS)) as journal:
        engine = Engine[Task, Fact, Any](journal=journal, rules=Rules(), perform=perform)
        heard: list[Fact] = []
        engine.listen(lambda entry: heard.append(entry.fact))
        for fact in (Ordered(DEAL, 0), Initialized(), Assigned(ME, 2)):
            engine.record(STREAM, fact)
        async with engine.working():
            journal.full = True
            await anyio.sleep(3_600)
            assert len(done) == 1
            assert not any(isinstance(fact, Started) for fact in heard)
            assert engine.states[STREAM].replicates[ME].status is Status.ASSIGNED
            journal.full = False
            await anyio.sleep(10)
        assert sum(isinstance(fact, Started) for fact in heard) == 1
    said = [record.message for record in caplog.records if "no room" in record.message]
    assert 1 <= len(said) <= 3600 // 600 + 1, "it is said now and then, not every second"
