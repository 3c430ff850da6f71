"""The results on disk: a file each, named by its content identifier, and an SQLite index."""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tallystick.poco.values import Address, DealId, Instant, TaskId
from tallystick.storage.cid import cid_v0, cid_v1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS results (
    task BLOB PRIMARY KEY,
    deal BLOB NOT NULL,
    uploader BLOB NOT NULL,
    cid TEXT NOT NULL,
    cid_v1 TEXT NOT NULL,
    size INTEGER NOT NULL,
    uploaded REAL NOT NULL,
    final_deadline INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS by_cid ON results (cid);
CREATE INDEX IF NOT EXISTS by_cid_v1 ON results (cid_v1);
CREATE INDEX IF NOT EXISTS by_age ON results (uploaded);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A result that the store has."""

    task: TaskId
    deal: DealId
    uploader: Address
    cid: str
    """Version 0, by which the link on chain names it."""
    size: int
    """Bytes of the zip."""
    uploaded: float
    """Seconds since the epoch, by this machine's clock."""
    final_deadline: Instant
    """Of the task; until then somebody may still depend on it."""


class Store:
    """All results of one data directory. Its methods block briefly; threads may share it."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._objects, self._incoming = folder / "objects", folder / "incoming"
        for place in (folder, self._objects, self._incoming):
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
        for broken_off in self._incoming.iterdir():
            broken_off.unlink()
        self._lock = threading.Lock()
        self._index = sqlite3.connect(
            folder / "index.db", isolation_level=None, check_same_thread=False
        )
        self._index.execute("PRAGMA journal_mode = WAL")
        self._index.execute("PRAGMA synchronous = FULL")
        self._index.executescript(_SCHEMA)

    def close(self) -> None:
        """Release the index."""
        with self._lock:
            self._index.close()

    def incoming(self) -> Path:
        """A new name for a file that is being received; it is the caller's to delete."""
        return self._incoming / secrets.token_hex(16)

    def find(self, task: TaskId) -> Stored | None:
        """The result of `task`."""
        return next(iter(self._select("task = ?", bytes(task))), None)

    def owners(self, cid: str) -> list[Stored]:
        """The results that have this content, by either version of its identifier."""
        return self._select("cid = ?1 OR cid_v1 = ?1", cid)

    def path(self, stored: Stored) -> Path:
        """Where the zip is."""
        return self._objects / stored.cid

    def add(
        self,
        received: Path,
        *,
        task: TaskId,
        deal: DealId,
        uploader: Address,
        final_deadline: Instant,
    ) -> Stored:
        """Keep the file `received` as the result of `task`; the first one wins.

        When it returns, the result survives a power cut.
        """
        stored = Stored(
            task=task,
            deal=deal,
            uploader=uploader,
            cid=cid_v0(received),
            size=received.stat().st_size,
            uploaded=self._clock(),
            final_deadline=final_deadline,
        )
        modern = cid_v1(received)
        _flush(received)
        with self._lock:
            if known := self._select_locked("task = ?", bytes(task)):
                return known[0]
            os.replace(received, self.path(stored))
            _flush(self._objects)
            self._index.execute(
                "INSERT INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    bytes(task),
                    bytes(deal),
                    bytes(uploader),
                    stored.cid,
                    modern,
                    stored.size,
                    stored.uploaded,
                    final_deadline,
                ),
            )
        return stored

    def total(self) -> int:
        """Bytes of all results; one content counts once for each task that has it."""
        with self._lock:
            total: int = self._index.execute(
                "SELECT coalesce(sum(size), 0) FROM results"
            ).fetchone()[0]
        return total

    def oldest(self, *, past: Instant) -> list[Stored]:
        """The results of tasks whose final deadline lies before `past`, oldest first."""
        return self._select("final_deadline < ? ORDER BY uploaded", past)

    def remove(self, stored: Stored) -> None:
        """Forget a result, and delete its content when no other task has the same."""
        with self._lock:
            self._index.execute("DELETE FROM results WHERE task = ?", (bytes(stored.task),))
            if not self._select_locked("cid = ?", stored.cid):
                self.path(stored).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Delete contents that no task has: a crash may come between file and index."""
        with self._lock:
            known = {row[0] for row in self._index.execute("SELECT cid FROM results")}
            for path in self._objects.iterdir():
                if path.name not in known:
                    path.unlink()

    def _select(self, condition: str, *values: bytes | str | int) -> list[Stored]:
        with self._lock:
            return self._select_locked(condition, *values)

    def _select_locked(self, condition: str, *values: bytes | str | int) -> list[Stored]:
        rows = self._index.execute(
            "SELECT task, deal, uploader, cid, size, uploaded, final_deadline "
            f"FROM results WHERE {condition}",
            values,
        )
        return [
            Stored(
                task=TaskId(task),
                deal=DealId(deal),
                uploader=Address(uploader),
                cid=cid,
                size=size,
                uploaded=uploaded,
                final_deadline=final_deadline,
            )
            for task, deal, uploader, cid, size, uploaded, final_deadline in rows
        ]


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
