"""Without a database nothing of PostgreSQL is loaded; with one, what is missing is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tallystick.engine.databases import MissingExtra, with_postgres, without_password
from tallystick.engine.settings import BadSettings
from tallystick.scheduler.logs import LogBook, open_logs


def test_a_pool_in_files_loads_nothing_of_it():
    look = (
        "import sys, tallystick.scheduler.app, tallystick.worker.app;"
        "print({'psycopg', 'alembic', 'sqlalchemy'} & set(sys.modules))"
    )
    told = subprocess.run([sys.executable, "-c", look], capture_output=True, check=True)
    assert told.stdout.strip() == b"set()"


@pytest.mark.parametrize("absent", ["psycopg", "alembic"])
def test_a_missing_extra_is_named(absent: str, monkeypatch: pytest.MonkeyPatch):
    for name in ("engine.postgres_link", "engine.postgres_schema", "engine.postgres"):
        monkeypatch.delitem(sys.modules, f"tallystick.{name}", raising=False)
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(MissingExtra, match=r"pip install 'tallystick\[postgres\]'"):
        with_postgres("tallystick.engine.postgres_schema")


def test_a_mistake_of_ours_is_no_missing_extra():
    with pytest.raises(ModuleNotFoundError):
        with_postgres("tallystick.no_such_module")


@pytest.mark.parametrize(
    "url",
    ["postgresql://me:hush@host/pool", "postgresql://host/pool?user=me&password=hush"],
)
def test_no_password_stands_on_a_command_line(url: str):
    with pytest.raises(BadSettings, match="PGPASSFILE") as refusal:
        without_password(url)
    assert "hush" not in str(refusal.value)


def test_a_database_is_named_by_its_url():
    assert without_password("postgresql://me@/pool?host=/run/pg") == (
        "postgresql://me@/pool?host=/run/pg"
    )
    with pytest.raises(BadSettings, match="postgresql://user@host/name"):
        without_password("mysql://host/pool")


def test_a_url_that_cannot_be_read_is_not_repeated():
    with pytest.raises(BadSettings) as refusal:
        open_logs("postgresql://me:hush@[host/pool", Path())
    assert "hush" not in str(refusal.value)


def test_logs_lie_in_a_file_when_there_is_no_database(tmp_path: Path):
    logs = open_logs("", tmp_path)
    assert type(logs) is LogBook
    logs.close()
