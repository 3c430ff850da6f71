"""The tables of a pool on PostgreSQL, from version to version."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from postgres_lab import postgres_url

from tallystick.engine.journal import NewerJournal
from tallystick.engine.postgres_schema import migrate

__all__ = ["postgres_url"]


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as db:
        found = db.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {name for (name,) in found.fetchall()}


def revision(url: str) -> str:
    with psycopg.connect(url) as db:
        (found,) = db.execute("SELECT version_num FROM alembic_version").fetchall()
        return found[0]


def test_an_empty_database_gets_all_tables_and_only_once(postgres_url: str):
    migrate(postgres_url)
    made = tables(postgres_url)
    assert {"facts", "notes", "timings", "logs", "entry", "shard", "inbox"} <= made
    with psycopg.connect(postgres_url) as db:
        db.execute("INSERT INTO notes VALUES ('a', 'b')")
    migrate(postgres_url)
    assert tables(postgres_url) == made
    with psycopg.connect(postgres_url) as db:
        assert db.execute("SELECT * FROM notes").fetchall() == [("a", "b")]


def test_the_tables_of_an_older_version_keep_what_they_hold(postgres_url: str):
    migrate(postgres_url, "0001")
    assert "shard" not in tables(postgres_url)
    with psycopg.connect(postgres_url) as db:
        db.execute(
            "INSERT INTO facts (shard, stream, kind, body, at) VALUES (1, 's', 'k', '{}', 2)"
        )
    migrate(postgres_url)
    assert revision(postgres_url) > "0001"
    with psycopg.connect(postgres_url) as db:
        assert db.execute("SELECT stream, at FROM facts").fetchall() == [("s", 2.0)]
        assert db.execute("SELECT count(*) FROM shard").fetchone() == (64,)


def test_processes_of_an_older_version_get_an_epoch_each(postgres_url: str):
    """They are upgraded one by one: the first new one makes the tables while others run."""
    migrate(postgres_url, "0002")
    assert "demand" in tables(postgres_url)
    with psycopg.connect(postgres_url) as db:
        db.execute("INSERT INTO process (id, url) VALUES ('a', 'http://a'), ('b', 'http://b')")
    migrate(postgres_url)
    assert "demand" not in tables(postgres_url)
    with psycopg.connect(postgres_url) as db:
        db.execute("INSERT INTO process (id, url) VALUES ('c', 'http://c')")  # an older one
        rows = db.execute("SELECT epoch, course FROM process").fetchall()
    assert len({epoch for epoch, _ in rows}) == 3
    assert {course for _, course in rows} == {""}


def test_the_tables_of_a_later_version_are_left_alone(postgres_url: str):
    migrate(postgres_url)
    with psycopg.connect(postgres_url) as db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(NewerJournal, match="9999, which this version does not know"):
        migrate(postgres_url)
    assert revision(postgres_url) == "9999"


def test_several_that_start_at_once_make_the_tables_once(postgres_url: str):
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(migrate, postgres_url) for _ in range(4)]:
            done.result()
    with psycopg.connect(postgres_url) as db:
        assert db.execute("SELECT count(*) FROM shard").fetchone() == (64,)
