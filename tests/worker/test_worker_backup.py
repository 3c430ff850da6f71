"""A worker's memory is copied while it is written to, and never put back over a newer one."""

from __future__ import annotations

import sqlite3
import tarfile
import threading
from contextlib import closing
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.testing import CliRunner
from worker_lab import DEAL, ME, TASK

from tallystick.cli.program import tree
from tallystick.engine.errors import Refused
from tallystick.engine.journal import Journal
from tallystick.lifecycle.facts import Assigned, Fact, Initialized, Ordered, Started
from tallystick.worker.app import _only_one
from tallystick.worker.backup import NotRestored, backup, restore

STREAM = str(TASK)


def journal(home: Path) -> Journal[Fact]:
    home.mkdir(exist_ok=True)
    return Journal[Fact](home / "journal.db", get_args(Fact))


def write(home: Path, *facts: Fact, at: float = 1.0) -> None:
    with closing(journal(home)) as book:
        for fact in facts:
            book.append(STREAM, fact, at=at)


def kinds(home: Path) -> list[str]:
    with closing(journal(home)) as book:
        return [type(entry.fact).__name__ for entry in book.read()]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write(tmp_path / "worker", Ordered(DEAL, 0), Initialized(), Assigned(ME, 2))
    with closing(sqlite3.connect(tmp_path / "worker" / "transactions.db")) as db, db:
        db.execute("CREATE TABLE entry (id INTEGER)")
    (tmp_path / "worker" / "wallet.json").write_text("{}")
    return tmp_path / "worker"


def test_a_copy_is_whole_and_holds_no_secret(home: Path, tmp_path: Path):
    file = tmp_path / "copy"
    assert backup(home, file).facts == 3
    with tarfile.open(file) as archive:
        assert sorted(archive.getnames()) == ["journal.db", "transactions.db"]
    assert file.stat().st_mode & 0o077 == 0
    elsewhere = tmp_path / "elsewhere"
    assert restore(elsewhere, file).facts == 3
    assert kinds(elsewhere) == ["Ordered", "Initialized", "Assigned"]
    assert {path.name for path in elsewhere.iterdir()} == {
        "journal.db",
        "transactions.db",
        "lock",
    }


def test_a_copy_is_made_while_the_worker_writes(home: Path, tmp_path: Path):
    """Each copy is a journal as it was at one moment: facts without a gap."""
    stop = threading.Event()

    def busy() -> None:
        with closing(journal(home)) as book:
            while not stop.is_set():
                book.append(STREAM, Started(ME), at=2)

    writer = threading.Thread(target=busy)
    writer.start()
    try:
        for number in range(5):
            backup(home, tmp_path / f"copy-{number}")
    finally:
        stop.set()
        writer.join()
    for number in range(5):
        place = tmp_path / f"place-{number}"
        age = restore(place, tmp_path / f"copy-{number}")
        with closing(journal(place)) as book:
            assert [entry.seq for entry in book.read()] == list(range(1, age.facts + 1))


def test_what_is_newer_is_not_overwritten(home: Path, tmp_path: Path):
    backup(home, tmp_path / "copy")
    write(home, Started(ME), at=5)
    with pytest.raises(NotRestored, match="is newer than the backup"):
        restore(home, tmp_path / "copy")
    assert kinds(home)[-1] == "Started"


def test_what_is_damaged_is_put_aside(home: Path, tmp_path: Path):
    backup(home, tmp_path / "copy")
    for left in home.glob("journal.db-*"):
        left.unlink()
    (home / "journal.db").write_bytes(b"not a database at all" * 500)
    restore(home, tmp_path / "copy")
    assert kinds(home) == ["Ordered", "Initialized", "Assigned"]
    (aside,) = home.glob("before-restore-*")
    assert (aside / "journal.db").read_bytes().startswith(b"not a database")


def test_a_running_worker_is_not_restored(home: Path, tmp_path: Path):
    backup(home, tmp_path / "copy")
    config: Any = type("Config", (), {"home": home})
    with _only_one(config), pytest.raises(NotRestored, match="stop it first"):
        restore(home, tmp_path / "copy")


@pytest.mark.parametrize("name", ["../journal.db", "wallet.json", "/etc/passwd"])
def test_a_strangers_archive_is_no_backup(tmp_path: Path, name: str):
    file, inside = tmp_path / "copy", tmp_path / "x"
    inside.write_text("x")
    with tarfile.open(file, "w:gz") as archive:
        archive.add(inside, name)
    with pytest.raises(NotRestored, match="no worker's backup"):
        restore(tmp_path / "worker", file)
    assert not (tmp_path / "worker" / "journal.db").exists()


def test_what_is_no_archive_is_no_backup(tmp_path: Path):
    (tmp_path / "copy").write_text("hello")
    with pytest.raises(NotRestored, match="no backup that can be read"):
        restore(tmp_path / "worker", tmp_path / "copy")


def test_nothing_to_copy_and_nowhere_to_put_it(home: Path, tmp_path: Path):
    with pytest.raises(Refused, match="nothing to back up"):
        backup(tmp_path / "nobody", tmp_path / "copy")
    (tmp_path / "copy").touch()
    with pytest.raises(Refused, match="exists already"):
        backup(home, tmp_path / "copy")


def test_the_commands(home: Path, tmp_path: Path):
    settings = tmp_path / "worker.toml"
    settings.write_text(
        'scheduler_url = "http://pool"\nwallet = "w.json"\npassword_file = "p"\n'
        f'base_dir = "{tmp_path}"\nname = "worker"\n'
    )
    copy, config = str(tmp_path / "copy"), ["--config", str(settings)]
    done = CliRunner().invoke(tree("worker"), ["worker", "backup", copy, *config, "--json"])
    assert (done.exit_code, '"facts": 3' in done.output) == (0, True)
    (home / "journal.db").unlink()
    done = CliRunner().invoke(tree("worker"), ["worker", "restore", copy, *config])
    assert done.exit_code == 0
    assert kinds(home) == ["Ordered", "Initialized", "Assigned"]
