"""Where a book of transactions lies: in a file, or in a database that several share."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from tallystick.engine.disk import writing
from tallystick.engine.errors import Refused
from tallystick.poco.values import Address

_SCHEMA = """
CREATE TABLE IF NOT EXISTS owner (wallet BLOB NOT NULL, chain INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS entry (
    id      INTEGER PRIMARY KEY,
    nonce   INTEGER NOT NULL,
    target  BLOB NOT NULL,
    data    BLOB NOT NULL,
    value   TEXT NOT NULL,
    what    TEXT NOT NULL,
    gas     INTEGER NOT NULL,
    cap     TEXT NOT NULL,
    state   TEXT NOT NULL,
    since   REAL NOT NULL,
    next    INTEGER,
    reason  TEXT NOT NULL DEFAULT '',
    receipt TEXT
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS entry_nonce ON entry (nonce) WHERE state != 'given up';
CREATE INDEX IF NOT EXISTS entry_state ON entry (state, nonce);
CREATE TABLE IF NOT EXISTS attempt (
    hash  BLOB PRIMARY KEY,
    entry INTEGER NOT NULL REFERENCES entry (id),
    raw   BLOB NOT NULL,
    most  TEXT NOT NULL,
    tip   TEXT,
    block INTEGER NOT NULL,
    at    REAL NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS attempt_entry ON attempt (entry);
"""


Row = tuple[Any, ...]


class WrongBook(Refused):
    """The file holds the transactions of another wallet or another chain."""


class Shelf(Protocol):
    """The tables `entry` and `attempt` of one wallet on one chain. Values are marked by `?`."""

    mine: str
    """The condition that an entry is of this wallet."""
    order: str
    """What the attempts of an entry are ordered by."""
    owner: dict[str, Any]
    """Columns that an entry has beside those of the book."""

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        """What a statement answers."""

    def change(self) -> AbstractContextManager[None]:
        """Nobody else changes anything in this block; all of it is kept at its end, or nothing
        and DiskTrouble."""

    def close(self) -> None:
        """Release the file, or end the session."""


class FileShelf:
    """A SQLite file, one a wallet. Several processes of a machine may share it."""

    mine, order = "TRUE", "rowid"

    def __init__(self, path: Path, wallet: Address, chain_id: int) -> None:
        """Opens or makes the file. Raises `WrongBook`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.owner: dict[str, Any] = {}
        self._path = path
        self._db = sqlite3.connect(path, isolation_level=None, timeout=10.0)
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;" + _SCHEMA)
        with self.change():
            owner = self._db.execute("SELECT wallet, chain FROM owner").fetchone()
            if owner is None:
                self._db.execute("INSERT INTO owner VALUES (?, ?)", (bytes(wallet), chain_id))
        if owner is not None and owner != (bytes(wallet), chain_id):
            raise WrongBook(
                f"{path} holds the transactions of {Address(owner[0])} on chain {owner[1]}, "
                f"not of {wallet} on chain {chain_id}: choose another file."
            )

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        """What a statement answers."""
        return self._db.execute(statement, values).fetchall()

    @contextmanager
    def change(self) -> Iterator[None]:
        """All of it, or nothing and DiskTrouble."""
        with writing(self._path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Release the file."""
        self._db.close()
