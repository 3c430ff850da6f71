"""A wallet's transactions on disk: each one is written down before it leaves."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from tallystick.chain.call import Call
from tallystick.chain.envelope import Price, transaction_hash
from tallystick.engine.disk import writing
from tallystick.engine.errors import Refused
from tallystick.poco.values import Address, Hash, Wei

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

_ENTRY = (
    "SELECT id, nonce, target, data, value, what, gas, cap, state, since, next, reason, receipt"
)


class State(StrEnum):
    """What became of a transaction."""

    WAITING = "waiting"
    """It has a nonce and is signed; the chain may take it at any time."""
    MINED = "mined"
    GIVEN_UP = "given up"
    """Its nonce went to another transaction, or the chain can never take it."""


class WrongBook(Refused):
    """The file holds the transactions of another wallet or another chain."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One signed form of a transaction. All forms have the same nonce and calldata."""

    hash: Hash
    raw: bytes
    price: Price
    block: int
    """The latest block when it was made."""
    at: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One call that the wallet sends."""

    id: int
    nonce: int
    call: Call
    gas: int
    cap: Wei
    state: State
    since: float
    """When it came to this state; seconds since the epoch."""
    next: int | None
    """The entry that does the same with another nonce, when this one lost its own."""
    reason: str
    receipt: dict[str, Any] | None
    attempts: tuple[Attempt, ...]
    """Oldest first, never empty."""


Sign = Callable[[int], tuple[bytes, Price]]
"""Signs a call for a nonce."""


class Book:
    """The journal of one wallet on one chain. Several processes may share it.

    What a method did is on disk when it returns, even if the power fails then.
    """

    def __init__(self, path: Path, wallet: Address, chain_id: int) -> None:
        """Opens or makes the file. Raises `WrongBook`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._db = sqlite3.connect(path, isolation_level=None, timeout=10.0)
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;" + _SCHEMA)
        with self._change():
            owner = self._db.execute("SELECT wallet, chain FROM owner").fetchone()
            if owner is None:
                self._db.execute("INSERT INTO owner VALUES (?, ?)", (bytes(wallet), chain_id))
        if owner is not None and owner != (bytes(wallet), chain_id):
            raise WrongBook(
                f"{path} holds the transactions of {Address(owner[0])} on chain {owner[1]}, "
                f"not of {wallet} on chain {chain_id}: choose another file."
            )

    def close(self) -> None:
        self._db.close()

    def waiting(self) -> list[Entry]:
        """Entries that are not mined, by nonce."""
        return self._entries("WHERE state = 'waiting' ORDER BY nonce")

    def same(self, call: Call) -> Entry | None:
        """The waiting entry that does what `call` does."""
        found = self._entries(
            "WHERE state = 'waiting' AND target = ? AND data = ? AND value = ?",
            (bytes(call.to), call.data, str(call.value)),
        )
        return found[0] if found else None

    def signed(self, call: Call) -> bool:
        """Whether an entry that does what `call` does is waiting or mined."""
        found = self._db.execute(
            "SELECT 1 FROM entry WHERE state != 'given up'"
            " AND target = ? AND data = ? AND value = ? LIMIT 1",
            (bytes(call.to), call.data, str(call.value)),
        )
        return found.fetchone() is not None

    def nonces(self, count: int) -> frozenset[int]:
        """Nonces from `count` on that were ever used here."""
        rows = self._db.execute("SELECT nonce FROM entry WHERE nonce >= ?", (count,))
        return frozenset(nonce for (nonce,) in rows)

    def entry(self, id: int) -> Entry:
        """The entry, or the one that took its place."""
        (found,) = self._entries("WHERE id = ?", (id,))
        return found if found.next is None else self.entry(found.next)

    def last_mined(self) -> int:
        """The highest nonce that was seen mined; -1 for none."""
        (nonce,) = self._db.execute(
            "SELECT max(nonce) FROM entry WHERE state = 'mined'"
        ).fetchone()
        return -1 if nonce is None else int(nonce)

    def last_nonce(self) -> int:
        """The highest nonce that was ever used here; -1 for none."""
        (nonce,) = self._db.execute("SELECT max(nonce) FROM entry").fetchone()
        return -1 if nonce is None else int(nonce)

    def reserve(
        self, call: Call, sign: Sign, *, count: int, gas: int, cap: Wei, block: int
    ) -> tuple[Entry, bool]:
        """Give `call` the lowest free nonce from `count` on, and keep it signed.

        When the same call is waiting already, that is what is returned, and False.
        """
        with self._change():
            if (same := self.same(call)) is not None:
                return same, False
            id = self._insert(call, sign, count=count, gas=gas, cap=cap, block=block)
        return self.entry(id), True

    def move(self, old: Entry, sign: Sign, *, count: int, block: int, reason: str) -> Entry:
        """Give up `old`'s nonce and do the same with another."""
        with self._change():
            self._set(old.id, State.GIVEN_UP, reason=reason)
            id = self._insert(
                old.call, sign, count=count, gas=old.gas, cap=old.cap, block=block
            )
            self._db.execute("UPDATE entry SET next = ? WHERE id = ?", (id, old.id))
        return self.entry(id)

    def replace(self, entry: Entry, raw: bytes, price: Price, *, block: int) -> Entry:
        """Another form of `entry`, with a higher price."""
        with self._change():
            self._attempt(entry.id, raw, price, block)
        return self.entry(entry.id)

    def mined(self, entry: Entry, receipt: dict[str, Any]) -> None:
        with self._change():
            self._set(entry.id, State.MINED, receipt=json.dumps(receipt))

    def give_up(self, entry: Entry, reason: str) -> None:
        with self._change():
            self._set(entry.id, State.GIVEN_UP, reason=reason)

    def forgotten(self, count: int) -> int:
        """The chain has only `count` transactions of the wallet: later ones wait again.

        Tells how many.
        """
        with self._change():
            return self._db.execute(
                "UPDATE entry SET state = 'waiting', receipt = NULL, since = ?"
                " WHERE state = 'mined' AND nonce >= ?",
                (time.time(), count),
            ).rowcount

    @contextmanager
    def _change(self) -> Iterator[None]:
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

    def _insert(
        self, call: Call, sign: Sign, *, count: int, gas: int, cap: Wei, block: int
    ) -> int:
        nonce = self._free(count)
        raw, price = sign(nonce)
        row = self._db.execute(
            "INSERT INTO entry (nonce, target, data, value, what, gas, cap, state, since)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, 'waiting', ?)",
            (
                nonce,
                bytes(call.to),
                call.data,
                str(call.value),
                call.what,
                gas,
                str(cap),
                time.time(),
            ),
        )
        assert row.lastrowid is not None
        self._attempt(row.lastrowid, raw, price, block)
        return row.lastrowid

    def _free(self, count: int) -> int:
        taken = {
            nonce
            for (nonce,) in self._db.execute(
                "SELECT nonce FROM entry WHERE state != 'given up' AND nonce >= ?", (count,)
            )
        }
        while count in taken:
            count += 1
        return count

    def _attempt(self, id: int, raw: bytes, price: Price, block: int) -> None:
        tip = None if price.tip is None else str(price.tip)
        self._db.execute(
            "INSERT OR REPLACE INTO attempt VALUES (?, ?, ?, ?, ?, ?, ?)",
            (bytes(transaction_hash(raw)), id, raw, str(price.most), tip, block, time.time()),
        )

    def _set(
        self, id: int, state: State, *, reason: str = "", receipt: str | None = None
    ) -> None:
        self._db.execute(
            "UPDATE entry SET state = ?, reason = ?, receipt = ?, since = ? WHERE id = ?",
            (state, reason, receipt, time.time(), id),
        )

    def _entries(self, condition: str, values: tuple[Any, ...] = ()) -> list[Entry]:
        rows = self._db.execute(f"{_ENTRY} FROM entry {condition}", values).fetchall()
        return [self._read(row) for row in rows]

    def _read(self, row: tuple[Any, ...]) -> Entry:
        id, nonce, target, data, value, what, gas, cap, state, since, next, reason, receipt = (
            row
        )
        attempts = self._db.execute(
            "SELECT hash, raw, most, tip, block, at FROM attempt"
            " WHERE entry = ? ORDER BY rowid",
            (id,),
        )
        return Entry(
            id=id,
            nonce=nonce,
            call=Call(Address(target), data, what, int(value)),
            gas=gas,
            cap=int(cap),
            state=State(state),
            since=since,
            next=next,
            reason=reason,
            receipt=None if receipt is None else json.loads(receipt),
            attempts=tuple(
                Attempt(
                    Hash(hash),
                    raw,
                    Price(int(most), None if tip is None else int(tip)),
                    block,
                    at,
                )
                for hash, raw, most, tip, block, at in attempts
            ),
        )
