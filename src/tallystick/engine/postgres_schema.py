"""Brings the tables of a PostgreSQL database to our version, one process at a time.

Needs the extra `tallystick[postgres]`: load it through `engine.databases` only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from tallystick.engine.journal import NewerJournal
from tallystick.engine.postgres_link import connect, reaching, shown

_STEPS = Path(__file__).with_name("migrations")
_LOCK = 0x7A11_57C4
"""A number that nobody else locks in this database: who migrates holds it."""


def migrate(url: str, to: str = "head") -> None:
    """Make the tables, or bring those of an older version up to date: all steps or none.

    Raises NewerJournal and changes nothing when a later version wrote them; DatabaseGone when
    the server does not answer.
    """
    config = Config()
    config.set_main_option("script_location", str(_STEPS).replace("%", "%%"))
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: connect(url, autocommit=False, prepare=False),
        poolclass=NullPool,
    )
    with reaching(url), _unwrapped(), engine.begin() as connection:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        _refuse_newer(url, config, connection)
        config.attributes["connection"] = connection
        command.upgrade(config, to)


@contextmanager
def _unwrapped() -> Iterator[None]:
    """What the driver said, not what SQLAlchemy made of it."""
    try:
        yield
    except DBAPIError as trouble:
        raise (trouble.orig or trouble) from None


def _refuse_newer(url: str, config: Config, connection: Connection) -> None:
    known = {step.revision for step in ScriptDirectory.from_config(config).walk_revisions()}
    found = MigrationContext.configure(connection).get_current_heads()
    if later := set(found) - known:
        raise NewerJournal(
            f"The tables of {shown(url)} have revision {', '.join(sorted(later))}, which this"
            " version does not know: use the version that made them, or a newer one."
        )
