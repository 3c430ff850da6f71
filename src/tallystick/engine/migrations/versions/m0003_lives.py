"""A process has a life with an epoch, and a course; nobody ever wrote down a demand."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

_CHANGES = """
DROP TABLE demand;

CREATE SEQUENCE life;                 -- never tells a number twice
ALTER TABLE process
    ADD epoch  BIGINT NOT NULL DEFAULT nextval('life'), -- another one after each sleep
    ADD course TEXT NOT NULL DEFAULT '';                -- what the operator told all of them
"""


def upgrade() -> None:
    """Whoever is in the table gets an epoch; its next sign of life tells which."""
    op.execute(_CHANGES)
