"""The PostgreSQL server that other tests use."""

from __future__ import annotations

import os

import psycopg
from postgres_lab import Server, postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]


def test_every_test_has_an_empty_database_of_its_own(
    postgres_url: str, postgres_server: Server
) -> None:
    with psycopg.connect(postgres_url) as here:
        here.execute("CREATE TABLE mine (one INTEGER)")
    with psycopg.connect(postgres_server.database()) as there:
        found = there.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        assert found.fetchone() == (0,)


def test_what_it_says_is_written_is_written(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as db:
        assert db.execute("SHOW fsync").fetchone() == ("on",)
        assert db.execute("SHOW synchronous_commit").fetchone() == ("on",)


def test_it_runs_as_an_ordinary_user_and_listens_on_no_network(
    postgres_url: str, postgres_server: Server
) -> None:
    assert (postgres_server.folder / "data").stat().st_uid != 0 or os.geteuid() != 0
    with psycopg.connect(postgres_url) as db:
        assert db.execute("SHOW listen_addresses").fetchone() == ("",)
