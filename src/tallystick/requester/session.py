"""Where a requester acts: one chain, its contracts, the services of a workerpool."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from tallystick.chain.fees import Fees
from tallystick.chain.hub import Hub
from tallystick.chain.networks import Meant, confirm, confirm_answers
from tallystick.chain.rpc import Rpc
from tallystick.poco.orders import order_hash
from tallystick.poco.values import Address
from tallystick.requester.book import Book, Offer, publish, read_book

SERVICE_TIMEOUT = 30.0
"""Seconds within which a service answers; long polls add their own waiting time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The addresses of one market."""

    chain_id: int
    rpc_urls: tuple[str, ...]
    ws_url: str | None
    hub: Address
    scheduler_url: str
    results_url: str
    book: Path
    """The order book, a file."""
    state: Path
    """A folder for the journals of transactions, one a wallet."""
    trust_hub: Address | None = None
    """The hub, where whoever made this market vouches for it ..."""
    rlc: Address | None = None
    """... and the RLC contract that it works with."""
    private: bool = False
    """Whether datasets may lie in private networks: for a market on one machine."""
    fees: Fees = field(default_factory=Fees)


@dataclass(frozen=True, slots=True)
class Session:
    """Open connections to a `Place`."""

    place: Place
    rpc: Rpc
    hub: Hub
    http: httpx2.AsyncClient

    @property
    def book(self) -> Book:
        """The offers on the book right now."""
        return read_book(self.place.book)

    def publish(self, *offers: Offer) -> None:
        """Put `offers` into the order book."""
        publish(self.place.book, *offers)

    async def remaining(self, offer: Offer) -> int:
        """How many tasks `offer` still serves."""
        return offer.volume - await self.hub.consumed(order_hash(offer, self.hub.domain))


@asynccontextmanager
async def open_session(place: Place) -> AsyncIterator[Session]:
    """Connect to `place`: nothing that moves money goes to a hub that nobody vouches for.

    Raises UnconfirmedHub, and Unavailable when the node of `place` does not answer.
    """
    meant = Meant(trust_hub=place.trust_hub, rlc=place.rlc)
    confirm(place.hub, place.chain_id, meant)
    async with (
        Rpc(place.rpc_urls) as rpc,
        httpx2.AsyncClient(timeout=SERVICE_TIMEOUT, trust_env=False) as http,
    ):
        hub = await Hub.open(rpc, place.hub)
        await confirm_answers(hub, place.chain_id, meant)
        yield Session(place, rpc, hub, http)
