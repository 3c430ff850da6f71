"""A file whose program was killed, or has not come further, before it made the tables."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tallystick.engine.journal import Journal
from tallystick.engine.read_only import JournalView, NotThere, look_into


@dataclass(frozen=True)
class Seen:
    number: int


@pytest.mark.parametrize("name", ["journal.db", "transactions.db"])
def test_a_file_without_tables_is_not_there_yet(tmp_path: Path, name: str):
    path = tmp_path / name
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
    with pytest.raises(NotThere, match=rf"{name} is empty"):
        look_into(path)
    path.write_bytes(b"")
    with pytest.raises(NotThere, match=rf"{name} is empty"):
        look_into(path)


def test_its_program_goes_on_with_it(tmp_path: Path):
    path = tmp_path / "journal.db"
    path.touch()
    with pytest.raises(NotThere, match="start its program"):
        JournalView(path, (Seen,))
    journal = Journal(path, (Seen,))
    journal.append("a", Seen(1), at=1.0)
    view = JournalView(path, (Seen,))
    assert [entry.fact for entry in view.read()] == [Seen(1)]
    view.close()
    journal.close()
