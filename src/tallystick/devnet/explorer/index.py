"""What the newest transactions were about, so that an account or a task finds its own.

Bounded: so many transactions, and so many blocks back; what is older is still there to be
paged through block by block. A chain that went back (a reorg, a snapshot, a restart) is
noticed at the next look, since the newest block that is known is then no longer there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import anyio

from tallystick.chain.abi import BadAnswer
from tallystick.chain.rpc import Rpc
from tallystick.devnet.explorer import decoding, node
from tallystick.devnet.explorer.abis import Dictionary
from tallystick.poco.values import Address, DealId, Hash, Instant, TaskId, Wei

_AT_ONCE: Final = 100
"""Blocks asked about in one message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One transaction as lists show it."""

    hash: Hash
    block: int
    block_hash: Hash
    timestamp: Instant
    sender: Address
    to: Address | None
    value: Wei
    what: str
    """The function, or what else it is."""
    ok: bool
    gas_used: int
    gas_price: Wei
    deals: tuple[DealId, ...]
    """Made by it."""
    tasks: tuple[TaskId, ...]
    """Initialized by it."""
    about: frozenset[bytes]
    """Every address, and every 32 bytes that name something."""


@dataclass(slots=True)
class Index:
    """The newest transactions, the newest last."""

    rpc: Rpc
    dictionary: Dictionary
    most: int = 3_000
    """Transactions that are kept."""
    depth: int = 20_000
    """Blocks that are searched at the first look."""
    head: node.Block | None = None
    floor: int = 0
    """Blocks from here on were searched."""
    entries: deque[Entry] = field(default_factory=deque)
    _lock: anyio.Lock = field(default_factory=anyio.Lock)

    def about(self, *subjects: bytes) -> list[Entry]:
        """Whatever concerns one of these, the newest first."""
        wanted = set(subjects)
        return [each for each in reversed(self.entries) if wanted & each.about]

    def newest(self, wanted: Callable[[Entry], object] = bool) -> Iterator[Entry]:
        """Those that `wanted` likes, the newest first."""
        return (each for each in reversed(self.entries) if wanted(each))

    async def refresh(self) -> node.Block:
        """Know the newest block. Raises Unavailable."""
        async with self._lock:
            latest = await node.block(self.rpc, "latest")
            if latest is None:
                raise BadAnswer("the node has no block")
            if self.head is None:
                self.floor = latest.number + 1
                await self._search_back(latest.number)
            elif self.head.hash != latest.hash:
                await self._forward(self.head, latest)
            self.head = latest
            return latest

    async def search_back(self) -> None:
        """Read older blocks until enough is known. Raises Unavailable."""
        if self.head is None:
            await self.refresh()
        lowest = max(0, (self.head.number if self.head else 0) - self.depth)
        while self.floor > lowest and len(self.entries) < self.most:
            async with self._lock:
                await self._search_back(self.floor - 1)

    async def _search_back(self, highest: int) -> None:
        lowest = max(0, highest - _AT_ONCE + 1)
        found = await self._entries(range(lowest, highest + 1))
        self.entries.extendleft(reversed(found))
        self.floor = lowest
        self._forget()

    async def _forward(self, known: node.Block, latest: node.Block) -> None:
        first = await self._last_common(known) + 1
        # Who was away for long starts anew: the newest is what people look at.
        if latest.number - first > self.depth:
            self.entries.clear()
            self.floor = first = latest.number - _AT_ONCE
        for start in range(first, latest.number + 1, _AT_ONCE):
            numbers = range(start, min(start + _AT_ONCE, latest.number + 1))
            self.entries.extend(await self._entries(numbers))
        self._forget()

    async def _last_common(self, known: node.Block) -> int:
        """The newest block that is still there; what is no longer is forgotten."""
        if await self._stands(known.number, known.hash):
            return known.number
        while self.entries:
            last = self.entries[-1]
            if await self._stands(last.block, last.block_hash):
                return last.block
            while self.entries and self.entries[-1].block == last.block:
                self.entries.pop()
        return self.floor - 1

    async def _stands(self, number: int, hash: Hash) -> bool:
        found = await node.block(self.rpc, number)
        return found is not None and found.hash == hash

    async def _entries(self, numbers: Sequence[int]) -> list[Entry]:
        busy = await node.busy(self.rpc, numbers)
        became = await node.receipts(self.rpc, busy)
        return [
            entry(self.dictionary, block, one, became[one.hash])
            for block in await node.blocks(self.rpc, busy)
            for one in block.transactions
            if one.hash in became
        ]

    def _forget(self) -> None:
        while len(self.entries) > self.most:
            self.floor = self.entries.popleft().block + 1


def entry(
    known: Dictionary, block: node.Block, one: node.Transaction, became: node.Receipt
) -> Entry:
    """What a transaction was, and what it was about."""
    asked = decoding.call(known, one.data)
    events = [decoding.event(known, each.topics, each.data) for each in became.events]
    return Entry(
        hash=one.hash,
        block=block.number,
        block_hash=block.hash,
        timestamp=block.timestamp,
        sender=one.sender,
        to=one.to or became.created,
        value=one.value,
        what=title(one, asked),
        ok=became.ok,
        gas_used=became.gas_used,
        gas_price=became.gas_price,
        deals=tuple(DealId(d) for d in _subjects(events, "OrdersMatched", "dealid")),
        tasks=tuple(TaskId(t) for t in _subjects(events, "TaskInitialize", "taskid")),
        about=frozenset(_about(one, became, [asked, *events])),
    )


def title(one: node.Transaction, asked: decoding.Told) -> str:
    """What a transaction is, in a word."""
    if one.to is None:
        return "create a contract"
    if not one.data:
        return "pay"
    return asked.name or f"0x{one.data[:4].hex()}"


def _subjects(events: Sequence[decoding.Told], event: str, argument: str) -> Iterator[bytes]:
    for told in events:
        if told.name == event:
            yield from (
                each.raw
                for each in told.arguments
                if each.name.lower() == argument and isinstance(each.raw, bytes)
            )


def _about(
    one: node.Transaction, became: node.Receipt, told: Sequence[decoding.Told]
) -> Iterator[bytes]:
    yield from (each for each in (one.sender, one.to, became.created) if each)
    yield from (each.address for each in became.events)
    for each in told:
        for argument in each.everything():
            if argument.kind == "address":
                yield Address(argument.raw)
            elif isinstance(argument.raw, bytes) and any(argument.raw):
                yield argument.raw
