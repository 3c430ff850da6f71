"""An append-only journal of facts in one SQLite file: the only thing a crash must spare."""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import TypeAdapter

from tallystick.engine.disk import writing
from tallystick.engine.errors import DiskTrouble, Refused

F = TypeVar("F")

FORMAT = 2
"""Of the file, in its `user_version`. A file from before they were numbered has 0."""

_SAFE = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"

_TABLES = """
CREATE TABLE IF NOT EXISTS facts (
    seq        INTEGER PRIMARY KEY,
    stream     TEXT NOT NULL,
    kind       TEXT NOT NULL,
    body       TEXT NOT NULL,
    at         REAL NOT NULL,             -- seconds since the epoch, by this machine's clock
    block      INTEGER,                   -- of a chain fact: where it was seen
    block_hash TEXT,
    log_index  INTEGER,
    void       INTEGER NOT NULL DEFAULT 0 -- 1 when a reorg took its block away
) STRICT;
CREATE INDEX IF NOT EXISTS facts_stream ON facts (stream, seq);
CREATE INDEX IF NOT EXISTS facts_block ON facts (block) WHERE block IS NOT NULL;
CREATE UNIQUE INDEX IF NOT EXISTS facts_log
    ON facts (stream, kind, block_hash, log_index) WHERE block_hash IS NOT NULL AND NOT void;
CREATE TABLE IF NOT EXISTS notes (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS timings (
    what TEXT NOT NULL, stream TEXT NOT NULL, due REAL NOT NULL, sent REAL NOT NULL
) STRICT;
"""

_UPGRADES = {0: _TABLES, 1: "ALTER TABLE facts ADD COLUMN tx TEXT;"}
"""What leads from each format to the next one. Facts stay as they are: `advance` reads all."""

_REVIVE = """
UPDATE OR IGNORE facts SET void = 0, at = ?, block = ?, block_hash = ?, log_index = ?, tx = ?
WHERE seq = (
    SELECT min(seq) FROM facts AS old
    WHERE stream = ? AND kind = ? AND body = ? AND void AND seq > (
        SELECT coalesce(max(seq), 0) FROM facts
        WHERE stream = old.stream AND block IS NOT NULL AND NOT void
    )
) RETURNING seq
"""


def _let_go(db: sqlite3.Connection) -> None:
    """Close what nobody uses any more. A thread that collects what another made may not, and
    the connection ends by itself."""
    with suppress(sqlite3.ProgrammingError):
        db.close()


@dataclass(frozen=True, slots=True)
class ChainRef:
    """Where on the chain a fact was seen."""

    block: int
    block_hash: str
    index: int
    """Of the log in its block."""
    tx: str | None = None
    """The transaction; unknown of what was seen before it was kept."""


@dataclass(frozen=True, slots=True)
class Entry(Generic[F]):
    """One fact as it was accepted."""

    seq: int
    stream: str
    fact: F
    at: float
    """Seconds since the epoch, by this machine's clock."""
    ref: ChainRef | None = None


class NewerJournal(Refused):
    """The file was written by a later version of the program."""


class Journal(Generic[F]):
    """Facts in the order they were accepted. A fact is durable once `append` returns.

    Whatever writes raises DiskTrouble when the disk is full or gone, and has changed nothing.
    """

    _has_tx = False
    """Whether facts were seen to have a column for their transactions."""

    def __init__(self, path: Path | str, kinds: tuple[type[F], ...]) -> None:
        """Open the file, or make it; an older format becomes ours. Raises NewerJournal."""
        self.path = path
        self.trouble: DiskTrouble | None = None
        """Why the last attempt to write failed; None when it did not."""
        self._joined = False
        self._db = sqlite3.connect(path)
        weakref.finalize(self, _let_go, self._db)
        with self._change():
            upgrade(self._db, path)
        self._timings: list[tuple[str, str, float, float]] = []
        self._codecs = adapters(kinds)

    def append(
        self, stream: str, fact: F, *, at: float, ref: ChainRef | None = None
    ) -> int | None:
        """Its number, or None when this very log is in the journal already.

        What the chain took back and tells again gets its old number, so that what followed
        from it holds again; but only where that keeps the chain's facts in the chain's order.
        """
        kind = type(fact).__name__
        body = self._codecs[kind].dump_json(fact).decode()
        what = (stream, kind, body)
        place = (ref.block, ref.block_hash, ref.index, ref.tx) if ref else (None,) * 4
        with self._change():
            self._flush_timings()
            if ref and (again := self._db.execute(_REVIVE, (at, *place, *what)).fetchall()):
                return int(again[0][0])
            row = self._db.execute(
                "INSERT OR IGNORE INTO facts"
                " (stream, kind, body, at, block, block_hash, log_index, tx)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*what, at, *place),
            )
        return row.lastrowid if row.rowcount else None

    def read(self, after: int = 0, stream: str | None = None) -> Iterator[Entry[F]]:
        """Every fact past `after` that still holds: from 0 to recover, else to follow."""
        rows = self._db.execute(
            "SELECT seq, stream, kind, body, at, block, block_hash, log_index,"
            f" {self._tx()} FROM facts"
            " WHERE seq > ? AND NOT void AND (? IS NULL OR stream = ?) ORDER BY seq",
            (after, stream, stream),
        )
        for seq, name, kind, body, at, *place in rows:
            if (codec := self._codecs.get(kind)) is None:
                raise NewerJournal(
                    f"{self.path} tells of {kind!r}, which this version does not know: use the"
                    " version that wrote it, or a newer one."
                )
            fact = codec.validate_json(body)
            ref = ChainRef(*place) if place[1] is not None else None
            yield Entry(seq, name, fact, at, ref)

    def _tx(self) -> str:
        """Where transactions are kept; nowhere in a file of format 1 that is only looked at."""
        if not self._has_tx:
            columns = self._db.execute("PRAGMA table_info(facts)").fetchall()
            self._has_tx = any(name == "tx" for _, name, *_ in columns)
        return "tx" if self._has_tx else "NULL"

    def void_above(self, block: int) -> tuple[str, ...]:
        """Void every chain fact seen above `block`; the streams that must be folded again."""
        with self._change():
            rows = self._db.execute(
                "UPDATE facts SET void = 1 WHERE block > ? AND NOT void RETURNING stream",
                (block,),
            ).fetchall()
        return tuple(sorted({stream for (stream,) in rows}))

    def note(self, key: str, value: str) -> None:
        """Remember one small thing beside the facts: a cursor, a registration."""
        with self._change():
            self._db.execute(
                "INSERT INTO notes VALUES (?, ?)"
                " ON CONFLICT DO UPDATE SET value = excluded.value",
                (key, value),
            )

    def noted(self, key: str) -> str | None:
        """What `note` last remembered under `key`."""
        row = self._db.execute("SELECT value FROM notes WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def forget(self, key: str) -> None:
        """Drop what was noted under `key`."""
        with self._change():
            self._db.execute("DELETE FROM notes WHERE key = ?", (key,))

    def notes(self, prefix: str) -> dict[str, str]:
        """Every note whose key starts with `prefix`."""
        rows = self._db.execute(
            "SELECT key, value FROM notes WHERE substr(key, 1, ?) = ?", (len(prefix), prefix)
        )
        return dict(rows.fetchall())

    def timing(self, what: str, stream: str, due: float, sent: float) -> None:
        """Keep how long an act waited for us; both instants in seconds since the epoch.

        It rides with the next fact: to write it at once would cost what it measures.
        """
        self._timings.append((what, stream, due, sent))

    def timings(self, stream: str) -> list[tuple[str, float, float]]:
        """What was sent for `stream`, when it became due and when it left."""
        with self._change():
            self._flush_timings()
        return self._db.execute(
            "SELECT what, due, sent FROM timings WHERE stream = ? ORDER BY sent", (stream,)
        ).fetchall()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Whatever is written in this block is one transaction, made durable at its end: all of
        it, or nothing and DiskTrouble. Nothing may be awaited in it."""
        with self._change():
            self._joined = True
            try:
                yield
            finally:
                self._joined = False

    @contextmanager
    def _change(self) -> Iterator[None]:
        """One transaction, or part of one: all of it, or nothing and DiskTrouble."""
        try:
            with writing(self.path), nullcontext() if self._joined else self._db:
                yield
        except DiskTrouble as trouble:
            self.trouble = trouble
            raise
        self.trouble = None

    def _flush_timings(self) -> None:
        self._db.executemany("INSERT INTO timings VALUES (?, ?, ?, ?)", self._timings)
        self._timings.clear()

    def close(self) -> None:
        """Release the file."""
        with self._change():
            self._flush_timings()
        self._db.close()


@cache
def adapters(kinds: tuple[type[F], ...]) -> Mapping[str, TypeAdapter[F]]:
    """What reads and writes the facts of each kind; to make one takes milliseconds."""
    return {kind.__name__: TypeAdapter(kind) for kind in kinds}


def upgrade(db: sqlite3.Connection, path: Path | str) -> None:
    """Bring a journal to our format. Raises NewerJournal, and then the file is untouched."""
    (found,) = db.execute("PRAGMA user_version").fetchone()
    if found > FORMAT:
        raise NewerJournal(
            f"{path} has format {found}, but this version knows formats up to {FORMAT}: use the"
            " version that wrote it, or a newer one. A backup that this version made can be"
            " restored instead (tally worker restore)."
        )
    db.executescript(_SAFE)
    for step in range(found, FORMAT):
        db.executescript(
            f"BEGIN IMMEDIATE; {_UPGRADES[step]} PRAGMA user_version = {step + 1}; COMMIT;"
        )
