"""A pool's PostgreSQL database as a store that is exported, or filled by an import.

Needs the extra `tallystick[postgres]`: load it through `engine.databases` only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import groupby
from typing import Any, Final

import psycopg

from tallystick.engine.errors import Refused
from tallystick.engine.fence import shard_of
from tallystick.engine.postgres_link import connect, reaching, shown
from tallystick.engine.postgres_schema import migrate
from tallystick.scheduler.transfer import TABLES, NotEmpty, Row

CURSOR: Final = "chain cursor"
"""The note that `chain.follow.NoteCursor` keeps; a database has one cursor a shard."""
_ORDER: Final = {
    "facts": "seq",
    "notes": 'key COLLATE "C"',
    "logs": 'task COLLATE "C", worker COLLATE "C"',
}
_NUMBERED: Final = {"facts": "seq", "timings": "id", "entry": "id", "attempt": "id"}
_TEXTS: Final = ("stdout", "stderr")
"""Kept as bytes, since an app may print what TEXT cannot hold."""
_ALIVE: Final = """
SELECT id FROM process WHERE beat > clock_timestamp() - interval '10 seconds'"""


class DatabaseStore:
    """The database of a pool of which no scheduler runs."""

    def __init__(self, url: str) -> None:
        """Raises DatabaseGone, NewerJournal, and Refused while a scheduler runs."""
        migrate(url)
        self._url = url
        with reaching(url), closing(connect(url)) as db:
            alive = db.execute(_ALIVE).fetchall()
        if alive:
            raise Refused(
                f"{len(alive)} schedulers of {shown(url)} run, or did a moment ago: stop them"
                " and try again in ten seconds."
            )

    def rows(self) -> Iterator[Row]:
        """Everything as it was at one moment, table by table, each one in its own order."""
        with reaching(self._url), closing(connect(self._url, autocommit=False)) as db:
            db.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            db.execute("SET LOCAL statement_timeout = 0")
            db.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            cursor = _cursor(db)
            for table in TABLES:
                yield from _exported(db, table, cursor)

    def fill(self, rows: Iterable[Row]) -> None:
        """Take over everything, or nothing. Raises NotEmpty."""
        with reaching(self._url), closing(connect(self._url, autocommit=False)) as db:
            db.execute("SET LOCAL statement_timeout = 0")
            db.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            self._require_empty(db)
            for table, group in groupby(rows, key=lambda row: row[0]):
                _insert(db, table, (values for _, values in group))
            for table, column in _NUMBERED.items():
                db.execute(
                    f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'),"
                    f" greatest(max({column}), 1), max({column}) IS NOT NULL) FROM {table}"
                )
            db.execute(
                "UPDATE shard SET cursor = (SELECT value FROM notes WHERE key = %s)", (CURSOR,)
            )
            db.commit()

    def _require_empty(self, db: psycopg.Connection[Any]) -> None:
        for table in TABLES:
            db.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
            if db.execute(f"SELECT EXISTS (SELECT FROM {table})").fetchone() != (False,):
                raise NotEmpty(
                    f"{shown(self._url)} has {table} already: choose an empty database."
                )


def _cursor(db: psycopg.Connection[Any]) -> str | None:
    """From which block on no shard misses one; None when some would begin at the beginning."""
    rows = db.execute("SELECT cursor FROM shard").fetchall()
    found: list[str | None] = [text for (text,) in rows]
    return min(
        found, key=lambda text: max((b[0] for b in json.loads(text or "[]")), default=-1)
    )


def _exported(db: psycopg.Connection[Any], table: str, cursor: str | None) -> Iterator[Row]:
    columns = ", ".join(TABLES[table])
    order = _ORDER.get(table, "id")
    with db.cursor(f"export_{table}") as found:
        found.itersize = 2_000
        found.execute(f"SELECT {columns} FROM {table} ORDER BY {order}")
        for values in found:
            row = dict(zip(TABLES[table], values, strict=True))
            row |= {name: row[name].decode() for name in _TEXTS if name in row}
            if table == "facts":
                row["void"] = int(row["void"])
            if table == "notes" and row["key"] == CURSOR:
                continue
            yield table, tuple(row.values())
    if table == "notes" and cursor is not None:
        yield table, (CURSOR, cursor)


def _insert(db: psycopg.Connection[Any], table: str, rows: Iterable[tuple[Any, ...]]) -> None:
    columns = [*TABLES[table], *(["shard"] if table == "facts" else [])]
    marks = ", ".join(["%s"] * len(columns))
    with db.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})",
            (_kept(table, values) for values in rows),
        )


def _kept(table: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
    row = dict(zip(TABLES[table], values, strict=True))
    row |= {name: row[name].encode() for name in _TEXTS if name in row}
    if table == "facts":
        row["void"] = bool(row["void"])
        row["shard"] = shard_of(row["stream"])
    return tuple(row.values())
