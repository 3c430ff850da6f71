"""A chain of blocks over the ledger: calls wait, are mined, and may be taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from random import Random

from tallystick.poco.escrow import Emit, Event, Revert
from tallystick.poco.ledger import Ledger
from tallystick.poco.values import Address, Instant
from tallystick.sim.blocks import Block, Told
from tallystick.sim.calls import Call, execute
from tallystick.sim.translate import facts_of


@dataclass(frozen=True, slots=True)
class Sent:
    """A call on its way."""

    call: Call
    at: Instant
    ready: Instant
    """No block takes it earlier."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A mined call that changed nothing and cost gas."""

    sent: Sent
    mined: Instant
    why: str


class Chain:
    """The head of the chain is `ledger`; everything else is how it came about."""

    def __init__(self, random: Random, genesis: Callable[[Emit], Ledger]) -> None:
        self._random, self._genesis = random, genesis
        self._events: list[Event] = []
        self.ledger = genesis(self._events.append)
        self.blocks: list[Block] = []
        self.mined: list[tuple[Sent, ...]] = []
        """The calls of each block."""
        self.pool: list[Sent] = []
        self.refusals: list[Refusal] = []
        self.successes: list[Sent] = []
        """Attacks that were mined and not refused."""
        self.torn: Instant = -1
        """When the chain last took blocks back."""
        self.version = 0
        """Another number whenever the ledger may have changed."""
        self._serial = 0

    def send(self, call: Call, *, now: Instant, latency: int) -> None:
        """Sign and broadcast, once: from here on nothing can hold the call back."""
        if not self.pending(call):
            self.pool.append(Sent(call, now, now + self._random.randint(0, latency)))

    def pending(self, call: Call) -> bool:
        """Whether the call was sent and is not mined."""
        return any(sent.call == call for sent in self.pool)

    def mine(self, now: Instant) -> Block:
        """The next block: every call that is ready, those of one sender in their order."""
        calls = tuple(self._take(now))
        facts = tuple(fact for sent in calls for fact in self._execute(sent, now))
        self._serial += 1
        block = Block(len(self.blocks) + 1, self._serial, now, facts)
        self.blocks.append(block)
        self.mined.append(calls)
        self.version += bool(calls)
        return block

    def reorg(self, depth: int, *, now: Instant, latency: int) -> list[Block]:
        """Take back `depth` blocks and mine others of the same times; some calls come later.

        The new blocks.
        """
        kept = max(0, len(self.blocks) - depth)
        orphans, calls = self.blocks[kept:], self.mined[kept:]
        del self.blocks[kept:], self.mined[kept:]
        self._rebuild()
        self.version += 1
        self.torn = now
        again = [sent for each in calls for sent in each]
        self.pool[:0] = [self._postponed(sent, now, latency) for sent in again]
        return [self.mine(block.time) for block in orphans]

    def _postponed(self, sent: Sent, now: Instant, latency: int) -> Sent:
        if self._random.random() < 0.5:
            return sent
        return replace(sent, ready=now + self._random.randint(0, latency))

    def _take(self, now: Instant) -> Iterator[Sent]:
        ready: dict[Address, list[Sent]] = {}
        left: list[Sent] = []
        waiting: set[Address] = set()
        for sent in self.pool:
            if sent.ready > now or sent.call.sender in waiting:
                waiting.add(sent.call.sender)
                left.append(sent)
            else:
                ready.setdefault(sent.call.sender, []).append(sent)
        self.pool = left
        senders = list(ready)
        self._random.shuffle(senders)
        for sender in senders:
            yield from ready[sender]

    def _execute(self, sent: Sent, now: Instant) -> list[Told]:
        self._events.clear()
        try:
            execute(self.ledger, sent.call, now)
        except Revert as revert:
            self.refusals.append(Refusal(sent, now, str(revert)))
            return []
        if sent.call.attack:
            self.successes.append(sent)
        return list(facts_of(self.ledger, self._events))

    def _rebuild(self) -> None:
        self.ledger = self._genesis(self._events.append)
        for block, calls in zip(self.blocks, self.mined, strict=True):
            for sent in calls:
                try:
                    execute(self.ledger, sent.call, block.time)
                except Revert:
                    continue
        self._events.clear()
