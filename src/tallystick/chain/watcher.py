"""Logs in the order of the chain, without gaps: confirmations, reorgs, resuming."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import anyio

from tallystick.chain.abi import BadAnswer, quantity
from tallystick.chain.answers import RpcError
from tallystick.chain.bloom import may_hold
from tallystick.chain.heads import POLL, TRUST, Heads
from tallystick.chain.logs import Log, RawLog, decode
from tallystick.chain.queries import read_head
from tallystick.chain.records import Head
from tallystick.chain.rpc import Request, Rpc
from tallystick.engine.complaints import Complaints
from tallystick.engine.errors import Unavailable
from tallystick.poco.values import Address, Hash

log = logging.getLogger(__name__)

Position = tuple[int, Hash]
"""A block that was taken over: its number and its hash."""

MOST_BLOCKS: Final = 10_000
"""Blocks asked for at once where a node allows it."""

NAP: Final = 30.0
"""Seconds between two looks at the chain while all is calm."""

GRACE: Final = 1.0
"""Seconds for which a chain that is merely shorter may be the node's delay."""

_ASKED: Final = 3
"""Times that is asked for logs that a block may have and that nobody tells ..."""

_DOUBT: Final = 10.0
"""... and seconds, while not every node has been heard."""

_PAUSE: Final = 0.02
_FIRST_BLOCKS: Final = 2_000
_REMEMBERED: Final = 128
_DENSE: Final = 32
_PARTS: Final = {"blockNumber", "blockHash", "logIndex"}
_REORG_DEPTH: Final = 256
"""Blocks below the tip whose hashes are compared while a range of blocks is read."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """The chain up to `head` was read; `logs` are those since the last such news."""

    head: Head
    logs: tuple[Log, ...]
    tip: Head
    """The latest block, which is `head` unless confirmations or older blocks are waited for."""
    target: int
    """The newest block that may be told by now, which is `head` unless older blocks are."""


@dataclass(frozen=True, slots=True)
class Rollback:
    """Whatever was told of blocks above `to` is void; it is read again from there."""

    to: int


class Cursor(Protocol):
    """Where the consumer keeps how far it got."""

    def load(self) -> list[Position]:
        """The blocks that were saved last, newest last; empty at first."""
        ...

    def save(self, blocks: list[Position]) -> None:
        """Keep `blocks` in place of those that were saved before."""
        ...


class Memory:
    """A cursor for those who start anew each time."""

    def __init__(self) -> None:
        self._blocks: list[Position] = []

    def load(self) -> list[Position]:
        """The blocks that were saved last; none at first."""
        return list(self._blocks)

    def save(self, blocks: list[Position]) -> None:
        """Keep `blocks` in place of those that were saved before."""
        self._blocks = list(blocks)


class Watcher:
    """Follows what contracts report, from a block on, through reorgs and restarts.

    `address` is one contract or several, `topics` the events wanted (all when empty),
    `confirmations` how many blocks must stand above one that is told, `start` the first block
    to read when the cursor is empty. With `heads` it wakes up by news instead of by polling.
    """

    def __init__(
        self,
        rpc: Rpc,
        *,
        address: Address | Sequence[Address],
        topics: Iterable[Hash] = (),
        cursor: Cursor,
        confirmations: int = 0,
        start: int = 0,
        heads: Heads | None = None,
    ) -> None:
        self._rpc, self._cursor, self._heads = rpc, cursor, heads
        self._confirmations, self._start = confirmations, start
        several = [address] if isinstance(address, Address) else list(address)
        self._filter: dict[str, Any] = {"address": [str(each) for each in several]}
        if wanted := [str(topic) for topic in topics]:
            self._filter["topics"] = [wanted]
        self._known = cursor.load()
        self._span = _FIRST_BLOCKS
        self._short_since: float | None = None
        self._lacking: dict[Hash, _Doubt] = {}
        self._asked = -math.inf
        """When a node was asked last, and answered."""
        self.calm: Callable[[], bool] = lambda: False
        """Whether nobody needs the next blocks before `NAP` is over: they are read together
        then, or when `wake` is called, which is far cheaper than one by one."""
        self.rewound: Callable[[list[Position]], list[Position]] = lambda known: known
        """From which blocks to read on; asked when all news so far is taken over."""
        self._woken = anyio.Event()

    def wake(self) -> None:
        """Read on now: somebody needs to know."""
        self._woken.set()

    @property
    def position(self) -> list[Position]:
        """What the cursor has to keep once the last news is taken over."""
        return list(self._known)

    def taken(self, news: Blocks | Rollback) -> None:
        """The consumer has made `news`, the last that it got, durable."""
        self._cursor.save(self.position)

    async def follow(self) -> AsyncIterator[Blocks | Rollback]:
        """News in order. Never ends: while no node answers there is just none."""
        count, pause, complaints = 0, _PAUSE, Complaints(log)
        while True:
            try:
                news = await self._news()
            except Unavailable as trouble:
                complaints.about("Reading the chain", trouble)
                await anyio.sleep(pause)
                pause = min(2 * pause, 2 * POLL)
                continue
            complaints.over("Reading the chain")
            pause = _PAUSE
            if news is not None:
                yield news
            elif self.calm():
                await self._nap()
            elif self._heads is not None:
                count = await self._heads.change(count, within=2 * POLL)
            else:
                await anyio.sleep(POLL)

    async def _news(self) -> Blocks | Rollback | None:
        if self._is_up_to_date():
            return None
        news = await self._next()
        self._asked = anyio.current_time()
        return news

    def _is_up_to_date(self) -> bool:
        """Whether the latest block that was heard of is the one read last, lately. Who only
        waits for the next one need not ask for it again and again."""
        tip = self._heads.latest if self._heads is not None else None
        if tip is None or anyio.current_time() - self._asked >= TRUST:
            return False
        if self._known[-1:] != [(tip.number, tip.hash)]:
            return False
        before, self._known = self._known, list(self.rewound(self._known))
        return self._known == before

    async def _nap(self) -> None:
        self._woken = anyio.Event()
        with anyio.move_on_after(NAP):
            await self._woken.wait()

    async def _next(self) -> Blocks | Rollback | None:
        self._known = list(self.rewound(self._known))
        if (tip := self._successor()) is None:
            tip, still = await self._look()
            if not still:
                return await self._went_back(tip)
        self._short_since = None
        first = self._known[-1][0] + 1 if self._known else self._start
        target = tip.number - self._confirmations
        if first > target:
            return None
        return await self._read(first, target, tip)

    def _successor(self) -> Head | None:
        """The latest block, when it is plain that it follows the one we know."""
        tip = self._heads.latest if self._heads is not None else None
        if tip is None or not self._known:
            return None
        return tip if (tip.number - 1, tip.parent) == self._known[-1] else None

    async def _look(self) -> tuple[Head, bool]:
        """The latest block, and whether the newest one that we know is still there."""
        asked: list[Request] = [_header("latest")]
        if self._known:
            asked.append(_header(self._known[-1][0]))
        latest, *ours = await self._rpc.batch(asked)
        tip = read_head(_good(latest))
        if not ours:
            return tip, True
        found = _good(ours[0])
        return tip, found is not None and read_head(found).hash == self._known[-1][1]

    async def _went_back(self, tip: Head) -> Rollback | None:
        """Find the newest block that we share with the chain."""
        candidates = [known for known in self._known if known[0] <= tip.number]
        found = await self._rpc.batch([_header(number) for number, _ in candidates])
        shared = [
            known
            for known, block in zip(candidates, map(_good, found), strict=True)
            if block is not None and read_head(block).hash == known[1]
        ]
        if len(shared) == len(candidates) and self._may_be_delay():
            return None
        to = shared[-1][0] if shared else self._start - 1
        log.warning("the chain went back from block %d to %d", self._known[-1][0], to)
        self._known, self._short_since = shared, None
        return Rollback(to)

    def _may_be_delay(self) -> bool:
        """Nothing contradicts what we know, the node just has less: believed after a while."""
        now = anyio.current_time()
        if self._short_since is None:
            self._short_since = now
        return now - self._short_since < GRACE

    async def _read(self, first: int, target: int, tip: Head) -> Blocks:
        """News of the blocks from `first` on, up to `target` when these are not too many."""
        if first == target == tip.number:
            raw, marks = await self._block(tip), [tip]
        else:
            raw, marks = await self._bearable_range(first, target, tip)
        self._require_successor(marks[0])
        self._require_complete(raw, marks)
        logs = tuple(known for each in raw if (known := decode(each)) is not None)
        self._remember(marks)
        return Blocks(marks[-1], logs, tip, target)

    async def _bearable_range(
        self, first: int, target: int, tip: Head
    ) -> tuple[list[RawLog], list[Head]]:
        """As many blocks as the node is willing to tell about at once."""
        while True:
            last = min(target, first + self._span - 1)
            try:
                found = await self._range(first, last, tip)
            except RpcError as trouble:
                if first == last:
                    raise
                self._span = max(1, (last - first + 1) // 2)
                log.info("blocks %d to %d are too many: %s", first, last, trouble)
            else:
                self._span = min(MOST_BLOCKS, self._span * 2)
                return found

    async def _block(self, tip: Head) -> list[RawLog]:
        """The logs of exactly this block, whatever the chain does meanwhile."""
        question = {**self._filter, "blockHash": str(tip.hash)}
        return _stamped(_logs(await self._rpc.call("eth_getLogs", question)), [tip])

    async def _range(self, first: int, last: int, tip: Head) -> tuple[list[RawLog], list[Head]]:
        """The logs of several blocks, and some of these blocks to remember, newest last."""
        question = {**self._filter, "fromBlock": hex(first), "toBlock": hex(last)}
        numbers = _sample(first, last)
        found, *blocks = await self._rpc.batch(
            [("eth_getLogs", (question,)), *map(_header, numbers)]
        )
        raw = _logs(_good(found))
        marks = [read_head(_good(block)) for block in blocks]
        doubtful = {
            number
            for each in raw
            if (number := quantity(each["blockNumber"])) not in numbers
            and ("blockTimestamp" not in each or number > tip.number - _REORG_DEPTH)
        }
        more = await self._rpc.batch(list(map(_header, sorted(doubtful))))
        return _stamped(raw, [*marks, *(read_head(_good(block)) for block in more)]), marks

    def _require_successor(self, first: Head) -> None:
        """Raises Unavailable when the first block that was read does not follow the newest one
        that we know: the chain went back after we had looked, and what replaced our block may
        have logs."""
        if self._known and first.parent != self._known[-1][1]:
            raise Unavailable("the chain changed before it was read")

    def _require_complete(self, raw: list[RawLog], marks: list[Head]) -> None:
        """Raises Unavailable when a block lacks logs that its header says it may have: the node
        did not index it yet, or lies. Another node is asked then, and what all tell is so."""
        told: dict[int, set[str]] = {}
        for each in raw:
            told.setdefault(quantity(each["blockNumber"]), set()).add(_topic(each))
        for block in marks:
            if not self._lacks(block, told.get(block.number, set())):
                continue
            doubt = self._lacking.setdefault(block.hash, _Doubt(anyio.current_time()))
            doubt.said.append(self._rpc.in_use)
            if doubt.stands(self._rpc.urls):
                self._rpc.doubt()
                raise Unavailable(f"a node left out logs of block {block.number}")
        self._lacking.clear()

    def _lacks(self, block: Head, told: set[str]) -> bool:
        return any(
            may_hold(block.bloom, bytes.fromhex(address[2:]), bytes.fromhex(topic[2:]))
            for topic in self._filter.get("topics", [[]])[0]
            if topic not in told
            for address in self._filter["address"]
        )

    def _remember(self, marks: list[Head]) -> None:
        """Keep recent blocks one by one and old ones sparsely, to find where forks begin."""
        self._known += [(mark.number, mark.hash) for mark in marks]
        if len(self._known) > _REMEMBERED:
            half = _REMEMBERED // 2
            self._known = self._known[:half:2] + self._known[half:]


@dataclass(slots=True)
class _Doubt:
    """A block without logs that its header says it may have."""

    since: float
    said: list[str] = field(default_factory=list[str])
    """The nodes that told none, each time that they did."""

    def stands(self, nodes: Sequence[str]) -> bool:
        """Whether somebody is still to be asked, or to be asked again."""
        if len(self.said) >= _ASKED and set(self.said) >= set(nodes):
            return False
        return anyio.current_time() - self.since < _DOUBT


def _topic(log: RawLog) -> str:
    topics = log.get("topics")
    return str(topics[0]) if isinstance(topics, list) and topics else ""


def _header(number: int | str) -> Request:
    return "eth_getBlockByNumber", (hex(number) if isinstance(number, int) else number, False)


def _sample(first: int, last: int) -> list[int]:
    """`first`, the `_DENSE` blocks up to `last`, and ever fewer between them."""
    near = range(max(first, last - _DENSE + 1), last + 1)
    far = (last - _DENSE * 2**n for n in range((last - first + 1).bit_length()))
    return sorted({first, *near, *(number for number in far if number >= first)})


def _good(answer: Any) -> Any:
    if isinstance(answer, RpcError):
        raise answer
    return answer


def _logs(answer: Any) -> list[RawLog]:
    if not isinstance(answer, list):
        raise BadAnswer("the node does not tell a list of logs")
    if not all(isinstance(each, dict) and each.keys() >= _PARTS for each in answer):
        raise BadAnswer("the node tells a log without its parts")
    return answer


def _stamped(raw: list[RawLog], blocks: list[Head]) -> list[RawLog]:
    """The logs in order, with their blocks' times, after a look at their blocks' hashes."""
    known = {block.number: block for block in blocks}
    stamped = []
    for each in raw:
        block = known.get(quantity(each["blockNumber"]))
        if block is None:
            stamped.append(each)
        elif block.hash != Hash(each["blockHash"]):
            raise Unavailable("the chain changed while it was read")
        else:
            stamped.append({**each, "blockTimestamp": hex(block.timestamp)})
    return sorted(stamped, key=lambda e: (quantity(e["blockNumber"]), quantity(e["logIndex"])))
