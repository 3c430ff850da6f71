"""A wallet's transactions on disk: each one is written down before it leaves."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from tallystick.chain.call import Call
from tallystick.chain.entries import Attempt, Entry, Sign, State, fee_of
from tallystick.chain.envelope import Price, transaction_hash
from tallystick.chain.shelf import FileShelf, Shelf, WrongBook
from tallystick.poco.values import Address, Hash, Wei

__all__ = ["Attempt", "Book", "Entry", "Sign", "State", "WrongBook"]

_ENTRY = (
    "SELECT id, nonce, target, data, value, what, gas, cap, state, since, next, reason, receipt"
)

_AT_ONCE = 500
"""Receipts that are read in one question."""


class Book:
    """The journal of one wallet on one chain. Several processes may share it.

    What a method did is on disk when it returns, even if the power fails then.
    """

    def __init__(self, path: Path, wallet: Address, chain_id: int) -> None:
        """Opens or makes the file. Raises `WrongBook`."""
        self._keep_on(FileShelf(path, wallet, chain_id))

    def _keep_on(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._rows, self._change = shelf.rows, shelf.change
        self._all = f"entry WHERE {shelf.mine}"
        self._fees: dict[tuple[int, float], Wei] = {}

    def close(self) -> None:
        """Let go of the file."""
        self._shelf.close()

    def waiting(self) -> list[Entry]:
        """Entries that are not mined, by nonce."""
        return self._entries("state = 'waiting' ORDER BY nonce")

    def same(self, call: Call) -> Entry | None:
        """The waiting entry that does what `call` does."""
        found = self._entries(
            "state = 'waiting' AND target = ? AND data = ? AND value = ?",
            (bytes(call.to), call.data, str(call.value)),
        )
        return found[0] if found else None

    def signed(self, call: Call) -> bool:
        """Whether an entry that does what `call` does is waiting or mined."""
        found = self._rows(
            f"SELECT 1 FROM {self._all} AND state != 'given up'"
            " AND target = ? AND data = ? AND value = ? LIMIT 1",
            (bytes(call.to), call.data, str(call.value)),
        )
        return bool(found)

    def nonces(self, count: int) -> frozenset[int]:
        """Nonces from `count` on that were ever used here."""
        rows = self._rows(f"SELECT nonce FROM {self._all} AND nonce >= ?", (count,))
        return frozenset(nonce for (nonce,) in rows)

    def entry(self, id: int) -> Entry:
        """The entry, or the one that took its place."""
        (found,) = self._entries("id = ?", (id,))
        return found if found.next is None else self.entry(found.next)

    def last_mined(self) -> int:
        """The highest nonce that was seen mined; -1 for none."""
        ((nonce,),) = self._rows(f"SELECT max(nonce) FROM {self._all} AND state = 'mined'")
        return -1 if nonce is None else int(nonce)

    def last_nonce(self) -> int:
        """The highest nonce that was ever used here; -1 for none."""
        ((nonce,),) = self._rows(f"SELECT max(nonce) FROM {self._all}")
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
            self._rows("UPDATE entry SET next = ? WHERE id = ?", (id, old.id))
        return self.entry(id)

    def replace(self, entry: Entry, raw: bytes, price: Price, *, block: int) -> Entry:
        """Another form of `entry`, with a higher price."""
        with self._change():
            self._attempt(entry.id, raw, price, block)
        return self.entry(entry.id)

    def spent(self) -> Wei:
        """What all transactions that are mined have cost. A receipt is read once."""
        mined = self._rows(f"SELECT id, since FROM {self._all} AND state = 'mined'")
        fresh = [id for id, since in mined if (id, since) not in self._fees]
        paid: dict[int, Wei] = {}
        for at in range(0, len(fresh), _AT_ONCE):
            few = fresh[at : at + _AT_ONCE]
            marks = ", ".join("?" * len(few))
            rows = self._rows(f"SELECT id, receipt FROM {self._all} AND id IN ({marks})", few)
            paid |= {id: fee_of(json.loads(receipt or "{}")) for id, receipt in rows}
        self._fees = {
            (id, since): self._fees.get((id, since), paid.get(id, 0)) for id, since in mined
        }
        return sum(self._fees.values())

    def mined(self, entry: Entry, receipt: dict[str, Any]) -> None:
        """The chain has the transaction; what it answered is kept."""
        with self._change():
            self._set(entry.id, State.MINED, receipt=json.dumps(receipt))

    def give_up(self, entry: Entry, reason: str) -> None:
        """It will not be sent any more, and why."""
        with self._change():
            self._set(entry.id, State.GIVEN_UP, reason=reason)

    def forgotten(self, count: int) -> int:
        """The chain has only `count` transactions of the wallet: later ones wait again.

        Tells how many.
        """
        with self._change():
            rows = self._rows(
                "UPDATE entry SET state = 'waiting', receipt = NULL, since = ?"
                f" WHERE {self._shelf.mine} AND state = 'mined' AND nonce >= ? RETURNING id",
                (time.time(), count),
            )
        return len(rows)

    def _insert(
        self, call: Call, sign: Sign, *, count: int, gas: int, cap: Wei, block: int
    ) -> int:
        nonce = self._free(count)
        raw, price = sign(nonce)
        kept = {
            "nonce": nonce,
            "target": bytes(call.to),
            "data": call.data,
            "value": str(call.value),
            "what": call.what,
            "gas": gas,
            "cap": str(cap),
            "state": State.WAITING.value,
            "since": time.time(),
            **self._shelf.owner,
        }
        marks = ", ".join("?" * len(kept))
        ((id,),) = self._rows(
            f"INSERT INTO entry ({', '.join(kept)}) VALUES ({marks}) RETURNING id",
            tuple(kept.values()),
        )
        self._attempt(id, raw, price, block)
        return int(id)

    def _free(self, count: int) -> int:
        rows = self._rows(
            f"SELECT nonce FROM {self._all} AND state != 'given up' AND nonce >= ?", (count,)
        )
        taken = {nonce for (nonce,) in rows}
        while count in taken:
            count += 1
        return count

    def _attempt(self, id: int, raw: bytes, price: Price, block: int) -> None:
        hash = bytes(transaction_hash(raw))
        tip = None if price.tip is None else str(price.tip)
        self._rows("DELETE FROM attempt WHERE hash = ?", (hash,))
        self._rows(
            "INSERT INTO attempt (hash, entry, raw, most, tip, block, at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (hash, id, raw, str(price.most), tip, block, time.time()),
        )

    def _set(
        self, id: int, state: State, *, reason: str = "", receipt: str | None = None
    ) -> None:
        self._rows(
            "UPDATE entry SET state = ?, reason = ?, receipt = ?, since = ? WHERE id = ?",
            (state.value, reason, receipt, time.time(), id),
        )

    def _entries(self, condition: str, values: tuple[Any, ...] = ()) -> list[Entry]:
        rows = self._rows(f"{_ENTRY} FROM {self._all} AND {condition}", values)
        return [self._read(row) for row in rows]

    def _read(self, row: tuple[Any, ...]) -> Entry:
        id, nonce, target, data, value, what, gas, cap, state, since, next, reason, receipt = (
            row
        )
        attempts = self._rows(
            "SELECT hash, raw, most, tip, block, at FROM attempt"
            f" WHERE entry = ? ORDER BY {self._shelf.order}",
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
