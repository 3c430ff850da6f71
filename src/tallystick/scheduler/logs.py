"""What the apps printed, for the requester who paid for it."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from tallystick.engine.databases import with_postgres
from tallystick.poco.values import Address, TaskId
from tallystick.wire.scheduler import ComputeLogs

_SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS logs (
    task TEXT NOT NULL, worker TEXT NOT NULL, stdout TEXT NOT NULL, stderr TEXT NOT NULL,
    at REAL NOT NULL, PRIMARY KEY (task, worker)
) STRICT;
"""
LIMIT = 100_000
"""Characters kept of each stream: its end, where the trouble is told."""


class LogBook:
    """The logs of every replicate, in one SQLite file; losing it costs no money."""

    def __init__(self, path: Path, keep_days: float = 3.0) -> None:
        self._db = sqlite3.connect(path)
        self._db.executescript(_SCHEMA)
        self._keep = keep_days * 86_400

    def write(self, task: TaskId, worker: Address, logs: ComputeLogs) -> None:
        """Keep what the app of one replicate printed; what is too old goes."""
        now = time.time()
        row = (str(task), str(worker), logs.stdout[-LIMIT:], logs.stderr[-LIMIT:], now)
        with self._db:
            self._db.execute("DELETE FROM logs WHERE at < ?", (now - self._keep,))
            self._db.execute("INSERT OR REPLACE INTO logs VALUES (?, ?, ?, ?, ?)", row)

    def of(self, task: TaskId, worker: Address | None = None) -> tuple[ComputeLogs, ...]:
        """The logs of a task's replicates, or of one of them."""
        rows = self._db.execute(
            "SELECT worker, stdout, stderr FROM logs WHERE task = ?"
            " AND (? IS NULL OR worker = ?) ORDER BY at",
            (str(task), worker and str(worker), worker and str(worker)),
        )
        return tuple(
            ComputeLogs(wallet_address=Address(name), stdout=stdout, stderr=stderr)
            for name, stdout, stderr in rows
        )

    def close(self) -> None:
        """Release the file."""
        self._db.close()


def open_logs(database: str, folder: Path) -> LogBook:
    """The logs of a pool, in its database if it has one. Raises DatabaseGone, MissingExtra."""
    if not database:
        return LogBook(folder / "logs.db")
    opened: LogBook = with_postgres("tallystick.scheduler.postgres_logs").PostgresLogs(database)
    return opened
