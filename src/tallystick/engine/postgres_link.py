"""One connection to PostgreSQL that comes back by itself after the server was away.

Needs the extra `tallystick[postgres]`: load it through `engine.databases` only.
"""

from __future__ import annotations

import time
import uuid
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, LiteralString

import psycopg
from psycopg import conninfo

from tallystick.engine.databases import DatabaseGone
from tallystick.engine.postgres_reach import Impatient, reach_of
from tallystick.engine.settings import BadSettings

Row = tuple[Any, ...]

_ALWAYS: dict[str, str | int] = {
    "connect_timeout": 4,  # seconds
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # milliseconds
    "client_encoding": "utf8",
}
_SESSION = (
    "-c statement_timeout=4s -c timezone=UTC"
    " -c idle_in_transaction_session_timeout=3s"  # who is stopped half way holds up nobody
)
_LONGEST_GOODBYE = 3_000
"""Milliseconds that the server has to end a session which lost its connection."""
_LOST = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.IdleInTransactionSessionTimeout,
)
_HELD_UP = (
    psycopg.errors.QueryCanceled,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.SerializationFailure,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.InsufficientResources,
    psycopg.errors.ReadOnlySqlTransaction,
)
"""What may be over in a while: a lock, a full disk, a server that is only a copy for now."""


def shown(url: str) -> str:
    """The URL for people: without its password."""
    try:
        parts = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        return "the database"
    place = parts.get("host") or parts.get("hostaddr") or "localhost"
    port = f":{parts['port']}" if parts.get("port") else ""
    return f"{parts.get('dbname') or 'the database'} at {place}{port}"


def conninfo_of(url: str, name: str, session: str = "") -> str:
    """What libpq is told: the URL, and what keeps a connection from hanging. Raises
    BadSettings."""
    try:
        given = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:  # its words may repeat the password
        raise BadSettings("The database's URL cannot be read: postgresql://…") from None
    more = {key: value for key, value in _ALWAYS.items() if key not in given}
    more["options"] = f"{_SESSION} {session} {given.get('options') or ''}".strip()
    return conninfo.make_conninfo(url, application_name=name, **more)


def connect(
    url: str, *, autocommit: bool = True, prepare: bool = True, name: str = "tallystick"
) -> psycopg.Connection[Row]:
    """A connection that prepares every statement, each of which may take a minute.

    A password that the URL lacks comes from PGPASSWORD or PGPASSFILE. Raises BadSettings.
    """
    return psycopg.connect(
        conninfo_of(url, name, "-c statement_timeout=60s"),
        autocommit=autocommit,
        prepare_threshold=0 if prepare else None,
    )


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Raises DatabaseGone when the server cannot be reached, or cannot do it for now."""
    try:
        yield
    except (*_LOST, *_HELD_UP) as trouble:
        first = str(trouble).strip().partition("\n")[0] or type(trouble).__name__
        raise DatabaseGone(
            f"{shown(url)} does not do its work ({first}): nothing was changed."
        ) from trouble


class Link:
    """Runs statements, each one a transaction of its own, each one prepared.

    Every statement raises DatabaseGone when the server cannot be reached. Whether a change
    took place that was under way when the connection was lost, nobody knows: `lost` says so,
    and the next statement begins when the server has ended the old session. While the server
    hangs, which this or another connection of the process has found out, they raise it at once.
    """

    def __init__(self, url: str) -> None:
        """Connects. Raises DatabaseGone."""
        self.url = url
        self.lost = False
        """Whether the connection was lost during the last statement."""
        self._name = f"tallystick {uuid.uuid4()}"
        self._reach = reach_of(url)
        self._within = False
        self._db: psycopg.Connection[Row] | None = None
        with reaching(url):
            self._open()

    def rows(
        self, statement: LiteralString, values: Sequence[Any] | Mapping[str, Any] = ()
    ) -> list[Row]:
        """What a statement answers."""
        with self._reached() as db:
            cursor = db.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All statements of this block are one change: all of it, or nothing."""
        with self._reached() as db, db.transaction():
            self._within = True
            try:
                yield
            finally:
                self._within = False

    @property
    def hangs(self) -> bool:
        """Whether the server does not answer anybody in this process."""
        return self._reach.away

    @contextmanager
    def _reached(self) -> Iterator[psycopg.Connection[Row]]:
        with reaching(self.url):
            self.lost = False
            if self._reach.away and not self._within:
                raise psycopg.OperationalError("it does not answer")
            began, db = time.monotonic(), self._db
            try:
                if db is None or db.closed:
                    db = self._reopen()
                began = time.monotonic()
                yield db
            except _LOST:
                self.lost = db is not None and db.closed
                self._reach.held_up(time.monotonic() - began, partial(_probe, self.url))
                raise

    def close(self) -> None:
        """End the session."""
        if self._db:
            self._db.close()

    def _open(self) -> psycopg.Connection[Row]:
        self._db = Impatient.connect(
            conninfo_of(self.url, self._name), autocommit=True, prepare_threshold=0
        )
        weakref.finalize(self, self._db.close)
        return self._db

    def _reopen(self) -> psycopg.Connection[Row]:
        if self._within:
            raise psycopg.OperationalError("the connection was lost half way")
        try:
            db = self._open()
            self._end_old_sessions(db)
        except _LOST:
            self.close()
            raise
        return db

    def _end_old_sessions(self, db: psycopg.Connection[Row]) -> None:
        """A session whose connection broke may still be at work on its last statement."""
        ended = db.execute(
            "SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity"
            " WHERE application_name = %s AND pid != pg_backend_pid()",
            (_LONGEST_GOODBYE, self._name),
        ).fetchall()
        if not all(done for (done,) in ended):
            raise psycopg.OperationalError("an old session does not end")


def _probe(url: str) -> None:
    """Ask the server something."""
    with Impatient.connect(conninfo_of(url, "tallystick looks"), autocommit=True) as db:
        db.execute("SELECT 1")
