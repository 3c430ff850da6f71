"""The pool's own offers: signed, kept on offer, renewed when used up or out of date."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from eth_hash.auto import keccak
from pydantic import TypeAdapter

from tallystick.chain.calls import Call
from tallystick.chain.hub import Hub
from tallystick.chain.records import WorkerpoolInfo
from tallystick.chain.wallet import Wallet
from tallystick.engine.complaints import Complaints
from tallystick.engine.errors import Refused, Unavailable
from tallystick.engine.journal import Entry, Journal
from tallystick.engine.pulse import Pulse
from tallystick.lifecycle.facts import Fact, Ordered
from tallystick.poco.orders import Operation, WorkerpoolOrder, order_hash
from tallystick.poco.values import Address, Hash
from tallystick.scheduler.terms import OrderTerms
from tallystick.wire.orders import from_json, to_json

log = logging.getLogger(__name__)

_ORDER, _TERMS, _WITHDRAWN = "order ", "terms ", "withdrawn "
"""Notes: an order by its hash, terms that were published by hand, and terms of which the
operator wants no order any more, by their digest."""
_READ: Final = TypeAdapter(OrderTerms)
_LOOK: Final = 60.0
"""Seconds after which the chain is asked anew even when nothing happened here."""

Judge = Callable[[OrderTerms, WorkerpoolInfo], Awaitable[str]]
"""Why an order on these terms is not to be signed; empty when it may be."""


class Standing(StrEnum):
    """What became of an order."""

    OFFERED = "offered"
    USED_UP = "used up"
    REPLACED = "replaced"
    """The terms or the pool's policy changed since it was signed."""
    WITHDRAWN = "withdrawn"
    """By the operator; whoever has a copy can still use it."""
    CLOSED = "closed"
    """By the operator, on the chain: nobody can use it any more."""


class NoSuchOrder(Refused):
    """The pool has signed no order of this hash."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One signed order, and how it stands."""

    hash: Hash
    order: WorkerpoolOrder
    mark: str
    """Of the terms and the policy that it was signed for."""
    standing: Standing = Standing.OFFERED
    consumed: int = 0
    """Tasks that the chain says are used up."""

    @property
    def digest(self) -> str:
        """Of the terms alone."""
        return self.mark.partition("-")[0]

    @property
    def remaining(self) -> int:
        """Tasks that it still sells."""
        return max(0, self.order.volume - self.consumed)


@dataclass(slots=True, kw_only=True)
class Orders:
    """The orders of one pool. What was signed is noted in the journal before it is shown.

    A salt is made of the terms, the policy and a count, so that several processes of a pool
    sign the very same order, and one that was forgotten is signed again as it was.
    """

    journal: Journal[Any]
    hub: Hub
    wallet: Wallet
    workerpool: Address
    settings: tuple[OrderTerms, ...] = ()
    judge: Judge
    paused: bool = False
    """While the pool drains: nothing is on offer, and nothing is signed."""
    refused: dict[OrderTerms, str] = field(default_factory=dict[OrderTerms, str])
    """Terms for which nothing is signed, or is on offer for now, and why."""
    _losing: set[str] = field(default_factory=set[str])
    """Marks of orders that are signed and would lose money at today's price of gas."""
    _objected: set[OrderTerms] = field(default_factory=set[OrderTerms])
    _kept: dict[Hash, Kept] = field(default_factory=dict[Hash, Kept])
    _news: Pulse = field(default_factory=Pulse)
    _complaints: Complaints = field(default_factory=lambda: Complaints(log))

    def __post_init__(self) -> None:
        self.read_again()

    def read_again(self) -> None:
        """What was noted, perhaps by another scheduler of the pool."""
        for key, text in self.journal.notes(_ORDER).items():
            kept = _read(Hash(key.removeprefix(_ORDER)), text)
            self._kept[kept.hash] = kept

    def current(self) -> list[WorkerpoolOrder]:
        """What is on offer now, signed; nothing while the pool drains."""
        return [each.order for each in self.on_offer()]

    def on_offer(self) -> list[Kept]:
        """The same, with what is left of each."""
        if self.paused:
            return []
        kept = self._kept.values()
        return [each for each in kept if _offered(each) and each.mark not in self._losing]

    def all(self) -> list[Kept]:
        """Every order that was ever signed here, oldest first."""
        return list(self._kept.values())

    def heard(self, entry: Entry[Fact]) -> None:
        """A deal takes its part of an order: look what is left."""
        if isinstance(entry.fact, Ordered):
            self._news.beat()

    async def run(self) -> None:
        """Keep the offers as they should be, until cancelled."""
        while True:
            seen = self._news.count
            try:
                await self.renew()
            except (Unavailable, Refused) as trouble:
                self._complaints.about("The pool's orders", trouble)
            else:
                self._complaints.over("The pool's orders")
            await self._news.next(seen, _LOOK)

    def wanted(self) -> tuple[OrderTerms, ...]:
        """What the pool sells: by its settings, and published by hand."""
        noted = self.journal.notes(_TERMS).values()
        return tuple(dict.fromkeys((*self.settings, *map(_READ.validate_json, noted))))

    async def renew(self) -> None:
        """Look at the chain, and sign what is missing. Raises Unavailable, Refused."""
        pool = await self.hub.workerpool(self.workerpool)
        self.read_again()
        if pool.owner != self.wallet.address:
            self._replace_but(())
            raise Refused(
                f"Workerpool {self.workerpool} belongs to {pool.owner} now, not to our wallet"
                f" {self.wallet.address}: nothing is on offer any more."
            )
        await self._look()
        wanted = {self._mark(terms, pool): terms for terms in self.wanted()}
        self._replace_but(wanted)
        self.refused.clear()
        for mark, terms in () if self.paused else wanted.items():
            await self._offer(mark, terms, pool)

    async def publish(self, terms: OrderTerms | None) -> None:
        """Offer these terms too, from now on; None: offer again whatever was withdrawn.
        Raises Unavailable, Refused."""
        if terms is not None:
            self.journal.note(f"{_TERMS}{_digest(terms)}", _READ.dump_json(terms).decode())
        for key in self.journal.notes(_WITHDRAWN):
            if terms is None or key == f"{_WITHDRAWN}{_digest(terms)}":
                self.journal.forget(key)
        for kept in self._in(Standing.WITHDRAWN):
            if self.journal.noted(_WITHDRAWN + kept.digest) is None:
                self._note(replace(kept, standing=Standing.OFFERED))
        await self.renew()

    def withdraw(self, hash: Hash, standing: Standing = Standing.WITHDRAWN) -> Kept:
        """Offer this order no more, and sign none like it; CLOSED: the chain has closed it.
        Raises NoSuchOrder."""
        kept = self.known(hash)
        self.journal.forget(_TERMS + kept.digest)
        self.journal.note(_WITHDRAWN + kept.digest, str(hash))
        if kept.standing is Standing.OFFERED or standing is Standing.CLOSED:
            kept = replace(kept, standing=standing)
            self._note(kept)
        return kept

    def closing(self, hash: Hash) -> Call:
        """The transaction that lets nobody use this order. Raises NoSuchOrder."""
        return self.hub.calls.manage_order(self.known(hash).order, Operation.CLOSE)

    def known(self, hash: Hash) -> Kept:
        """An order of ours. Raises NoSuchOrder."""
        if hash not in self._kept:
            raise NoSuchOrder(
                f"This pool has signed no order {hash}: see tally pool orders list."
            )
        return self._kept[hash]

    def poke(self) -> None:
        """Something changed that orders depend on: look soon."""
        self._news.beat()

    async def _look(self) -> None:
        for kept in self._in(Standing.OFFERED):
            consumed = await self.hub.consumed(kept.hash)
            if consumed >= kept.order.volume:
                self._note(replace(kept, consumed=consumed, standing=Standing.USED_UP))
                log.info("The pool's order %s is used up.", kept.hash)
            elif consumed != kept.consumed:
                self._note(replace(kept, consumed=consumed))

    async def _offer(self, mark: str, terms: OrderTerms, pool: WorkerpoolInfo) -> None:
        """See to it that an order of this mark is on offer, unless it would lose money now."""
        same = [kept for kept in self._kept.values() if kept.mark == mark]
        signed = [kept for kept in same if kept.standing is Standing.OFFERED]
        if not signed and self.journal.noted(_WITHDRAWN + _digest(terms)) is not None:
            return
        if against := await self.judge(terms, pool):
            if signed:
                self._losing.add(mark)
                against += (
                    " Whoever has a copy of the one that is signed can still use it: tally pool"
                    f" orders cancel {signed[0].hash} closes it."
                )
            self.refused[terms] = against
            if terms not in self._objected:  # said once, since the price of gas varies
                self._objected.add(terms)
                log.warning("%s", against)
            return
        self._objected.discard(terms)
        self._losing.discard(mark)
        if not signed:
            await self._sign(mark, terms, len(same))

    async def _sign(self, mark: str, terms: OrderTerms, count: int) -> None:
        while True:
            salt = Hash(keccak(f"{self.workerpool} {mark} {count}".encode()))
            order = terms.order(self.workerpool, salt)
            hash = order_hash(order, self.hub.domain)
            consumed = await self.hub.consumed(hash)
            if hash not in self._kept and consumed < order.volume:
                break
            count += 1  # known to the chain though not to us: an older backup was restored
        signed = replace(order, sign=self.wallet.sign_hash(hash))
        self._note(Kept(hash, signed, mark, consumed=consumed))
        log.info(
            "The pool offers %d tasks of category %d for %d nRLC each, up to trust %d: %s.",
            order.volume,
            order.category,
            order.price,
            order.trust,
            hash,
        )

    def _replace_but(self, marks: Any) -> None:
        """Take off the offer what was signed for other terms or another policy."""
        for kept in self._in(Standing.OFFERED):
            if kept.mark not in marks:
                self._note(replace(kept, standing=Standing.REPLACED))

    def _in(self, standing: Standing) -> Iterator[Kept]:
        return (kept for kept in list(self._kept.values()) if kept.standing is standing)

    def _mark(self, terms: OrderTerms, pool: WorkerpoolInfo) -> str:
        return f"{_digest(terms)}-{pool.stake_ratio}-{pool.reward_ratio}"

    def _note(self, kept: Kept) -> None:
        written = asdict(kept) | {"order": to_json(kept.order)}
        del written["hash"]
        self.journal.note(f"{_ORDER}{kept.hash}", json.dumps(written))
        self._kept[kept.hash] = kept


def _read(hash: Hash, text: str) -> Kept:
    told = json.loads(text)
    order = from_json(WorkerpoolOrder, told["order"])
    return Kept(hash, order, told["mark"], Standing(told["standing"]), told["consumed"])


def _offered(kept: Kept) -> bool:
    return kept.standing is Standing.OFFERED and kept.remaining > 0


def _digest(terms: OrderTerms) -> str:
    return keccak(_READ.dump_json(terms)).hex()[:16]
