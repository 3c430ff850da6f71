"""What the apps printed, in a PostgreSQL database that several schedulers share.

Needs the extra `tallystick[postgres]`: load it through `engine.databases` only.
"""

from __future__ import annotations

import time
from typing import Final

from tallystick.engine.postgres_link import Link
from tallystick.poco.values import Address, TaskId
from tallystick.scheduler.logs import LIMIT, LogBook
from tallystick.wire.scheduler import ComputeLogs

_WRITE: Final = """WITH old AS (DELETE FROM logs WHERE at < %(oldest)s::float8)
INSERT INTO logs VALUES (%(task)s, %(worker)s, %(stdout)s, %(stderr)s, %(at)s)
ON CONFLICT (task, worker) DO UPDATE
SET stdout = excluded.stdout, stderr = excluded.stderr, at = excluded.at"""
_OF: Final = """SELECT worker, stdout, stderr FROM logs
WHERE task = %(task)s AND (%(worker)s::text IS NULL OR worker = %(worker)s::text) ORDER BY at"""


class PostgresLogs(LogBook):
    """The logs of every replicate; raises DatabaseGone when the server does not answer."""

    def __init__(self, url: str, keep_days: float = 3.0) -> None:
        """The tables must be there (`engine.postgres_schema.migrate`)."""
        self._link = Link(url)
        self._keep = keep_days * 86_400

    def write(self, task: TaskId, worker: Address, logs: ComputeLogs) -> None:
        """Keep what the app of one replicate printed; what is too old goes."""
        now = time.time()
        row = {
            "task": str(task),
            "worker": str(worker),
            "stdout": logs.stdout[-LIMIT:].encode(),
            "stderr": logs.stderr[-LIMIT:].encode(),
            "at": now,
        }
        self._link.rows(_WRITE, {**row, "oldest": now - self._keep})

    def of(self, task: TaskId, worker: Address | None = None) -> tuple[ComputeLogs, ...]:
        """The logs of a task's replicates, or of one of them."""
        rows = self._link.rows(_OF, {"task": str(task), "worker": worker and str(worker)})
        return tuple(
            ComputeLogs(
                wallet_address=Address(name), stdout=stdout.decode(), stderr=stderr.decode()
            )
            for name, stdout, stderr in rows
        )

    def close(self) -> None:
        """End the session."""
        self._link.close()
