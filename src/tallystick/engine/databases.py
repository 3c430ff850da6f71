"""Where a service keeps its books: a file of its own, or a PostgreSQL that several share."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from tallystick.engine.errors import DiskTrouble, Refused

_EXTRA = ("psycopg", "psycopg_binary", "alembic", "sqlalchemy")


class DatabaseGone(DiskTrouble):
    """The database server does not answer, or cannot write: nothing was changed, or so it will
    look to whoever asks next."""


class MissingExtra(Refused):
    """The packages that speak with PostgreSQL are not installed."""


def with_postgres(module: str) -> ModuleType:
    """A module of ours that speaks with PostgreSQL, loaded only now. Raises MissingExtra."""
    try:
        return import_module(module)
    except ModuleNotFoundError as absence:
        if (absence.name or "").partition(".")[0] not in _EXTRA:
            raise
        raise MissingExtra(
            "A pool on PostgreSQL needs an extra: pip install 'tallystick[postgres]'."
        ) from absence
