"""What is done about transactions that wait: found mined, sent again, raised, given up.

Everything here is decided from the book and one look at a node, so it can begin again at any
point, also in another process.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from tallystick.chain.book import Book, Entry
from tallystick.chain.call import Call
from tallystick.chain.fees import Fees
from tallystick.chain.outlook import Estimate, Outlook, estimate, glance, look
from tallystick.chain.post import Post

log = logging.getLogger(__name__)

_FILLER_GAS: Final = 21_000
_ON_ITS_WAY: Final = 0.5
"""Seconds after signing in which a transaction may not have reached the node yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """When something is done about a transaction that is not mined; in seconds and blocks."""

    blocks: int = 3
    """Blocks without it before its price is raised ..."""
    seconds: float = 5.0
    """... and how long it has been offered by then at least."""
    doubt: float = 10.0
    """How long a transaction that no node has, and the contract would refuse, is kept."""
    usurped: float = 1.0
    """How long another transaction must be seen in its place before it counts as lost, and how
    long one that is not ours before it counts as a stranger's."""


class Upkeep:
    """Looks after the waiting entries of one book."""

    def __init__(self, post: Post, book: Book, fees: Fees, patience: Patience) -> None:
        self._post, self._book, self._fees, self._patience = post, book, fees, patience
        self._displaced: dict[int, float] = {}
        self.capped: set[int] = set()
        """Entries that wait because the chain asks for more than their cap."""
        self._count: int | None = None
        self._strangers_since: float | None = None
        self.foreign: tuple[int, ...] = ()
        """Nonces that went to transactions which this book did not send."""

    @property
    def uneasy(self) -> bool:
        """Whether a nonce may be a stranger's, or miscounted: the next look will tell."""
        return self._strangers_since is not None

    async def round(self, wanted: Collection[int]) -> int:
        """Look once, do what is needed, and tell the number of the latest block.

        `wanted` are entries that somebody waits for. While nothing waits, only the next nonce
        is asked for: it tells what was forgotten, and what is a stranger's. Raises
        `Unavailable`.
        """
        mined_before, waiting = self._book.last_mined(), self._book.waiting()
        if not waiting:
            found = await glance(self._post.rpc, self._post.address)
            if found.count > mined_before:
                self._note_strangers(found.count)
                return found.block
        now = await look(self._post.rpc, self._post.address, waiting)
        if now.count <= mined_before:
            number = self._book.forgotten(now.count)
            log.warning("the chain forgot %d transactions of this wallet", number)
            waiting = self._book.waiting()
            now = await look(self._post.rpc, self._post.address, waiting)
        for entry in waiting:
            if self._book.entry(entry.id) == entry:  # nobody did anything about it meanwhile
                await self._look_at(entry, now, entry.id in wanted)
        await self._fill_gap(now)
        self._note_strangers(now.count)
        return now.block

    async def _look_at(self, entry: Entry, now: Outlook, wanted: bool) -> None:
        mined = [now.receipts[a.hash] for a in entry.attempts if a.hash in now.receipts]
        last = entry.attempts[-1]
        if mined:
            self._book.mined(entry, mined[0])
            self.capped.discard(entry.id)
            self._displaced.pop(entry.id, None)
            return
        if entry.nonce < now.count:
            await self._usurped(entry, now, wanted)
            return
        self._displaced.pop(entry.id, None)
        if self._is_due_to_rise(entry, now) and await self._raise(entry, now):
            return
        if last.hash not in now.known and time.time() - last.at > _ON_ITS_WAY:
            await self._again(entry)

    async def _usurped(self, entry: Entry, now: Outlook, wanted: bool) -> None:
        """Another transaction has the nonce; make sure of it, at another node if there is one,
        then do without or start anew."""
        if entry.id not in self._displaced:
            self._post.rpc.doubt()
        since = self._displaced.setdefault(entry.id, time.monotonic())
        if time.monotonic() - since < self._patience.usurped:
            return
        del self._displaced[entry.id]
        self._report_stranger(entry.nonce)
        reason = f"another program sent transaction {entry.nonce} of {self._post.address}"
        if not wanted:
            self._book.give_up(entry, reason)
            return
        found = await estimate(self._post.rpc, self._post.address, entry.call)
        if found.gas is None:
            self._book.give_up(entry, f"{reason}, and the contract refuses ours now")
            return
        price = self._fees.first(now.network, entry.cap)
        count = max(found.outlook.count, found.outlook.pending)
        sign = self._post.signer(entry.call, entry.gas, price)
        moved = self._book.move(entry, sign, count=count, block=now.block, reason=reason)
        await self._post.broadcast(moved)

    def _is_due_to_rise(self, entry: Entry, now: Outlook) -> bool:
        last = entry.attempts[-1]
        if now.network.base is not None and last.price.most < now.network.base:
            return True
        return (
            last.hash in now.known  # otherwise its price is not what it lacks
            and entry.nonce == now.count
            and now.block - last.block >= self._patience.blocks
            and time.time() - max(last.at, entry.since) >= self._patience.seconds
        )

    async def _raise(self, entry: Entry, now: Outlook) -> bool:
        """Offer more; False when that is above the cap."""
        price = self._fees.more(entry.attempts[-1].price, now.network, entry.cap)
        if price is None:
            self._tell_capped(entry)
            return False
        self.capped.discard(entry.id)
        self._post.rpc.doubt()  # it may have the transaction, and tell nobody of it
        raw, _ = self._post.signer(entry.call, entry.gas, price)(entry.nonce)
        log.info("%s offers %d wei for gas now", entry.call.what, price.most)
        await self._post.broadcast(self._book.replace(entry, raw, price, block=now.block))
        return True

    def _tell_capped(self, entry: Entry) -> None:
        if entry.id not in self.capped:
            self._post.rpc.doubt()
            self.capped.add(entry.id)
            log.warning(
                "%s waits: the chain asks for more than the cap of %d wei",
                entry.call.what,
                entry.cap,
            )

    async def _again(self, entry: Entry) -> None:
        """No node has it: it never left, or was forgotten. Send it, if it still can succeed."""
        found = await estimate(self._post.rpc, self._post.address, entry.call)
        if found.gas is not None:
            await self._post.broadcast(entry)
        elif time.time() - max(entry.since, entry.attempts[-1].at) > self._patience.doubt:
            self._book.give_up(entry, _refused_now(found))

    async def _fill_gap(self, now: Outlook) -> None:
        """Use up a nonce that was given back below one that waits, or that waits for ever."""
        waiting = self._book.waiting()
        free = max(now.count, now.pending)
        if not any(entry.nonce > free for entry in waiting):
            return
        if any(entry.nonce == free for entry in waiting):
            return
        nothing = Call(self._post.address, b"", f"use up nonce {free}")
        price = self._fees.first(now.network, self._fees.cap)
        filler, new = self._book.reserve(
            nothing,
            self._post.signer(nothing, _FILLER_GAS, price),
            count=free,
            gas=_FILLER_GAS,
            cap=self._fees.cap,
            block=now.block,
        )
        if new:
            await self._post.broadcast(filler)

    def _note_strangers(self, count: int) -> None:
        """Nonces above all of ours are somebody else's, unless they were there at the start. A
        node that miscounts is not believed at its first word."""
        ours = self._book.last_nonce()
        if self._count is None or count <= max(self._count, ours + 1):
            self._count, self._strangers_since = count, None
        elif self._strangers_since is None:
            self._strangers_since = time.monotonic()
            self._post.rpc.doubt()
        elif time.monotonic() - self._strangers_since >= self._patience.usurped:
            for nonce in range(max(self._count, ours + 1), count):
                self._report_stranger(nonce)
            self._count, self._strangers_since = count, None

    def _report_stranger(self, nonce: int) -> None:
        if nonce not in self.foreign:
            self.foreign += (nonce,)
            log.warning(
                "transaction %d of %s is not ours: does another program use this wallet?",
                nonce,
                self._post.address,
            )


def _refused_now(found: Estimate) -> str:
    return f"the contract would refuse it now ({found.refusal or 'it gives no reason'})"
