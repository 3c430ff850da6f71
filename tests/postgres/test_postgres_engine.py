"""The engine's own tests once more, with its journal on a server."""

from __future__ import annotations

from pathlib import Path

import pytest
import test_engine
from postgres_lab import ready_postgres
from test_engine import *  # noqa: F403  its tests and fixtures

from tallystick.engine.postgres import PostgresJournal

__all__ = ["ready_postgres"]


@pytest.fixture(autouse=True)
def on_a_server(ready_postgres: str, monkeypatch: pytest.MonkeyPatch):
    """What a test takes for its file is a database of its own."""

    def journal(path: Path) -> PostgresJournal:
        test_engine.OPENED.append(PostgresJournal(ready_postgres, test_engine.KINDS))
        return test_engine.OPENED[-1]

    monkeypatch.setattr(test_engine, "journal", journal)
