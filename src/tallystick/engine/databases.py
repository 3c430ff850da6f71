"""Where a service keeps its books: a file of its own, or a PostgreSQL that several share."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from urllib.parse import parse_qs, urlsplit

from tallystick.engine.errors import DiskTrouble, Refused
from tallystick.engine.settings import BadSettings

_EXTRA = ("psycopg", "psycopg_binary", "alembic", "sqlalchemy")


class DatabaseGone(DiskTrouble):
    """The database server does not answer, or cannot write: nothing was changed, or so it will
    look to whoever asks next."""


class MissingExtra(Refused):
    """The packages that speak with PostgreSQL are not installed."""


def without_password(url: str) -> str:
    """The URL of a database as it may stand on a command line, where every user of the machine
    can read it. Raises BadSettings when it tells a password."""
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", "postgres"):
        raise BadSettings("A database is named like postgresql://user@host/name.")
    if parts.password is not None or "password" in parse_qs(parts.query):
        raise BadSettings(
            "A password on the command line can be read by every user of this machine: put it"
            " into a file that PGPASSFILE names, or into the pool's settings file."
        )
    return url


def with_postgres(module: str) -> ModuleType:
    """A module of ours that speaks with PostgreSQL, loaded only now. Raises MissingExtra."""
    try:
        return import_module(module)
    except ImportError as absence:
        lacks_libpq = "pq wrapper" in str(absence)
        if (absence.name or "").partition(".")[0] not in _EXTRA and not lacks_libpq:
            raise
        raise MissingExtra(
            "A pool on PostgreSQL needs an extra: pip install 'tallystick[postgres]'."
        ) from absence
