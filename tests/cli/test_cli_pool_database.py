"""`tally pool`: where its memory lies, and how it moves."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import get_args

import pytest
from postgres_lab import ready_postgres

from tallystick.cli import services
from tallystick.engine.journal import Journal
from tallystick.lifecycle.facts import Fact, Initialized

__all__ = ["ready_postgres"]

ZERO = f"0x{'00' * 20}"


def settings(folder: Path, database: str = "") -> Path:
    """Of a pool whose chain is not there: a start ends soon."""
    path = folder / "pool.toml"
    path.write_text(
        f'data_dir = "{folder}/data"\nrpc_urls = ["http://127.0.0.1:1"]\nhub = "{ZERO}"\n'
        f'workerpool = "{ZERO}"\nwallet = "{folder}/wallet.json"\nport = 0\n'
        f'password_file = "{folder}/password"\nresults_url = "http://127.0.0.1:1"\n'
        f'database = "{database}"\n'
    )
    return path


def filled(folder: Path) -> Path:
    (folder / "data").mkdir()
    with closing(Journal[Fact](folder / "data" / "journal.db", get_args(Fact))) as journal:
        journal.append("a task", Initialized(), at=1)
        journal.note("a key", "a value")
    return settings(folder)


def test_a_pool_moves_to_a_database_and_back(tally, tmp_path: Path, ready_postgres: str):
    here, there, again = (tmp_path / name for name in ("here", "there", "again"))
    for folder in (here, there, again):
        folder.mkdir()
    file, back = tmp_path / "pool.gz", tmp_path / "back.gz"
    done = tally("pool", "export", file, "--config", filled(here))
    assert done.code == 0
    assert "1 facts, 1 notes" in done.out
    server = settings(there, ready_postgres)
    done = tally("pool", "import", file, "--config", server, "--json")
    assert json.loads(done.out) == {"rows": {"facts": 1, "notes": 1}}
    twice = tally("pool", "import", file, "--config", server)
    assert twice.code == 1
    assert "choose an empty database" in twice.err
    assert tally("pool", "export", back, "--config", server).code == 0
    assert tally("pool", "import", back, "--config", settings(again)).code == 0
    with closing(Journal[Fact](again / "data" / "journal.db", get_args(Fact))) as journal:
        assert [entry.fact for entry in journal.read()] == [Initialized()]
        assert journal.noted("a key") == "a value"


def start(folder: Path, *options: str) -> subprocess.CompletedProcess:
    command = [
        sys.executable,
        "-m",
        "tallystick",
        "pool",
        "start",
        "--config",
        settings(folder),
    ]
    return subprocess.run(
        [*command, "--config", settings(folder), *options],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_start_refuses_a_password_that_everybody_can_read(tmp_path: Path):
    ended = start(tmp_path, "--database", "postgresql://me:hush@127.0.0.1/pool")
    assert ended.returncode == 2
    assert "PGPASSFILE" in ended.stderr
    assert "hush" not in ended.stderr + ended.stdout


def test_a_start_says_what_a_database_is_called(tmp_path: Path):
    refused = start(tmp_path, "--database", "mysql://127.0.0.1/pool")
    assert "postgresql://user@host/name" in refused.stderr
    assert "--database URL" in start(tmp_path, "--help").stdout


def test_the_command_line_counts_for_more_than_the_environment(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.delenv("TALLYSTICK_DATABASE", raising=False)
    assert services._database(None) == ""
    monkeypatch.setenv("TALLYSTICK_DATABASE", "postgresql://me:hush@/one")
    assert services._database(None) == "postgresql://me:hush@/one"
    assert services._database("postgresql:///two") == "postgresql:///two"
