"""What is known of every pool, and the asking that keeps it fresh."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import anyio
import httpx2

from tallystick.directory import asking
from tallystick.directory.claims import Claims, Offer
from tallystick.directory.listing import Listed
from tallystick.engine.pulse import Pulse

EVERY: Final = 30.0
"""Seconds between two questions to a pool."""
_AT_ONCE: Final = 8
"""Pools that are asked at a time."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One pool. What it said last stays, with its age, when it stops answering."""

    listed: Listed
    claims: Claims | None = None
    offers: tuple[Offer, ...] = ()
    at: float | None = None
    """When it said so, in seconds of Unix time."""
    trouble: str = "was not asked yet"
    """Why nothing newer is known; empty when it answered the last time."""

    @property
    def name(self) -> str:
        """What to call it."""
        told = self.claims.name if self.claims else ""
        return self.listed.name or told or self.listed.url.partition("://")[2]

    @property
    def cheapest(self) -> Offer | None:
        """Of all categories."""
        return min(self.offers, key=lambda offer: offer.price, default=None)


@dataclass(slots=True)
class Board:
    """All pools of a directory."""

    pools: Sequence[Listed]
    every: float = EVERY
    changes: Pulse = field(default_factory=Pulse)
    _entries: dict[str, Entry] = field(default_factory=dict[str, Entry])

    def __post_init__(self) -> None:
        self._entries = {one.url: Entry(one) for one in self.pools}

    @property
    def entries(self) -> list[Entry]:
        """Those that answer first, the largest of them first."""
        return sorted(self._entries.values(), key=_rank)

    @property
    def disputed(self) -> set[tuple[int, bytes]]:
        """Chain and workerpool that more than one of the addresses claim to be."""
        claimed = Counter(
            (each.claims.chain_id, bytes(each.claims.workerpool))
            for each in self._entries.values()
            if each.claims
        )
        return {which for which, times in claimed.items() if times > 1}

    async def run(self) -> None:
        """Ask everybody, again and again, until cancelled."""
        slots = anyio.CapacityLimiter(_AT_ONCE)
        async with asking.client() as http, anyio.create_task_group() as tasks:
            for one in self.pools:
                tasks.start_soon(self._keep_asking, http, one, slots)

    async def _keep_asking(
        self, http: httpx2.AsyncClient, one: Listed, slots: anyio.CapacityLimiter
    ) -> None:
        while True:
            async with slots:
                await self.look(http, one)
            await anyio.sleep(self.every)

    async def look(self, http: httpx2.AsyncClient, one: Listed) -> None:
        """Ask one pool, and note what it says."""
        before = self._entries[one.url]
        try:
            claims, offers = await asking.ask(http, one.url)
            after = Entry(one, claims, offers, time.time(), "")
        except asking.NoAnswer as trouble:
            after = replace(before, trouble=str(trouble))
        self._entries[one.url] = after
        self.changes.beat()


def _rank(entry: Entry) -> tuple[bool, int, str]:
    alive = entry.claims.workers_alive if entry.claims else 0
    return bool(entry.trouble), -alive, entry.listed.url
