"""The digests that a wallet has voted for: what is signed must stay provable.

A vote locks a stake that only its digest releases. The digest is in the journal as well, but a
journal may be restored from an older backup, and an app may answer otherwise when it is run
again. So what was signed is kept apart, in a small file that can be copied to where the wallet
goes, as validators of other chains do.
"""

from __future__ import annotations

import sqlite3
import time
import weakref
from pathlib import Path

from tallystick.engine.disk import writing
from tallystick.poco.values import Digest, TaskId

_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS pledge (
    task   TEXT PRIMARY KEY,
    digest BLOB NOT NULL,
    at     REAL NOT NULL             -- seconds since the epoch, by this machine's clock
) STRICT;
"""


class Pledges:
    """One digest for each task, on disk once `keep` returns."""

    def __init__(self, path: Path) -> None:
        self._path, self._db = path, sqlite3.connect(path)
        weakref.finalize(self, self._db.close)
        self._db.executescript(_SCHEMA)
        path.chmod(0o600)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def of(self, task: TaskId) -> Digest | None:
        """What was voted for in `task`, or was about to be."""
        row = self._db.execute("SELECT digest FROM pledge WHERE task = ?", (str(task),))
        found = row.fetchone()
        return None if found is None else Digest(found[0])

    def keep(self, task: TaskId, digest: Digest) -> None:
        """`digest` is about to be signed for `task`. Raises DiskTrouble."""
        with writing(self._path), self._db:
            self._db.execute(
                "INSERT INTO pledge VALUES (?, ?, ?) ON CONFLICT (task) DO UPDATE"
                " SET digest = excluded.digest, at = excluded.at"
                " WHERE digest != excluded.digest",
                (str(task), bytes(digest), time.time()),
            )
