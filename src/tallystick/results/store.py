"""The results on disk: a file each, named by its content identifier, and an SQLite index."""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tallystick.poco.values import Address, DealId, Hash, Instant, TaskId
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
CREATE TABLE IF NOT EXISTS early (
    task BLOB NOT NULL,
    cid TEXT NOT NULL,
    cid_v1 TEXT NOT NULL,
    deal BLOB NOT NULL,
    uploader BLOB NOT NULL,
    result BLOB NOT NULL,             -- the hash that a vote for it would carry
    size INTEGER NOT NULL,
    uploaded REAL NOT NULL,
    final_deadline INTEGER NOT NULL,
    PRIMARY KEY (task, cid)
);
CREATE INDEX IF NOT EXISTS by_cid ON results (cid);
CREATE INDEX IF NOT EXISTS by_cid_v1 ON results (cid_v1);
CREATE INDEX IF NOT EXISTS by_age ON results (uploaded);
"""


_COLUMNS = "task, deal, uploader, cid, size, uploaded, final_deadline"
_EARLY = 4
"""Results that one worker may bring for a task before a vote: it computes again when an older
backup of it was restored, and the vote for the first result may be under way."""


class TooMany(Exception):
    """A worker brings another result for the same task, again and again."""


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
        self._clock, self.folder = clock, folder
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

    def add_early(
        self,
        received: Path,
        *,
        task: TaskId,
        deal: DealId,
        uploader: Address,
        result: Hash,
        final_deadline: Instant,
    ) -> str:
        """Keep the file `received` in case that the vote on `task` will be for `result`; the
        identifier of its content. Raises TooMany. When it returns, it survives a power cut."""
        cid, modern, size = cid_v0(received), cid_v1(received), received.stat().st_size
        _flush(received)
        with self._lock:
            known = self._index.execute(
                "SELECT cid FROM early WHERE task = ? AND uploader = ?",
                (bytes(task), bytes(uploader)),
            ).fetchall()
            if (cid,) not in known and len(known) >= _EARLY:
                raise TooMany(f"{uploader} brought {_EARLY} results of {task} already.")
            os.replace(received, self._objects / cid)
            _flush(self._objects)
            self._index.execute(
                "INSERT OR IGNORE INTO early VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(bytes(task), cid, modern, bytes(deal), bytes(uploader), bytes(result)),
                    *(size, self._clock(), final_deadline),
                ),
            )
        return cid

    def undecided(self, *, task: TaskId | None = None, cid: str = "") -> list[TaskId]:
        """Tasks whose results here are not known to be what the vote was for: those of this
        task or this content; by default all."""
        where, values = "1", tuple[bytes | str, ...]()
        if task is not None:
            where, values = "task = ?", (bytes(task),)
        elif cid:
            where, values = "cid = ?1 OR cid_v1 = ?1", (cid,)
        with self._lock:
            rows = self._index.execute(f"SELECT DISTINCT task FROM early WHERE {where}", values)
            return [TaskId(found) for (found,) in rows]

    def decide(self, task: TaskId, result: Hash | None) -> None:
        """The vote on `task` was for `result`, or there will be none: what fits it is kept as
        the task's result, unless there is one, and the rest is deleted."""
        with self._lock, self._whole():
            if result is not None:
                self._index.execute(
                    "INSERT OR IGNORE INTO results SELECT task, deal, uploader, cid, cid_v1,"
                    " size, uploaded, final_deadline FROM early WHERE task = ? AND result = ?"
                    " ORDER BY uploaded LIMIT 1",
                    (bytes(task), bytes(result)),
                )
            gone = self._index.execute(
                "DELETE FROM early WHERE task = ? RETURNING cid", (bytes(task),)
            ).fetchall()
        with self._lock:
            for (cid,) in gone:
                self._delete_unused(cid)

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """All of it or nothing, whatever happens."""
        self._index.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._index.execute("ROLLBACK")
            raise
        self._index.execute("COMMIT")

    def _delete_unused(self, cid: str) -> None:
        early = self._index.execute("SELECT 1 FROM early WHERE cid = ?", (cid,)).fetchone()
        if not (early or self._select_locked("cid = ?", cid)):
            (self._objects / cid).unlink(missing_ok=True)

    def total(self) -> int:
        """Bytes of all results; one content counts once for each task that has it."""
        with self._lock:
            total: int = self._index.execute(
                "SELECT (SELECT coalesce(sum(size), 0) FROM results)"
                " + (SELECT coalesce(sum(size), 0) FROM early)"
            ).fetchone()[0]
        return total

    def counts(self) -> tuple[int, int]:
        """How many results are kept, and how many more wait for a vote."""
        with self._lock:
            kept, early = self._index.execute(
                "SELECT (SELECT count(*) FROM results), (SELECT count(*) FROM early)"
            ).fetchone()
        return int(kept), int(early)

    def oldest(self, *, past: Instant) -> list[Stored]:
        """The results of tasks whose final deadline lies before `past`, oldest first."""
        return self._select("final_deadline < ? ORDER BY uploaded", past)

    def remove(self, stored: Stored) -> None:
        """Forget a result, and delete its content when no other task has the same."""
        with self._lock:
            self._index.execute("DELETE FROM results WHERE task = ?", (bytes(stored.task),))
            self._delete_unused(stored.cid)

    def sweep(self) -> None:
        """Delete contents that no task has: a crash may come between file and index."""
        with self._lock:
            question = "SELECT cid FROM results UNION SELECT cid FROM early"
            known = {row[0] for row in self._index.execute(question)}
            for path in self._objects.iterdir():
                if path.name not in known:
                    path.unlink()

    def _select(self, condition: str, *values: bytes | str | int) -> list[Stored]:
        with self._lock:
            return self._select_locked(condition, *values)

    def _select_locked(self, condition: str, *values: bytes | str | int) -> list[Stored]:
        rows = self._index.execute(
            f"SELECT {_COLUMNS} FROM results WHERE {condition}",
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
