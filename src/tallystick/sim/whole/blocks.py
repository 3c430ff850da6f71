"""A chain of blocks with a mempool: nonces, prices, replacements, losses, reorgs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING, Any

from eth_hash.auto import keccak

from tallystick.chain import contracts
from tallystick.chain.abi import BadAnswer, selector
from tallystick.chain.bloom import bloom_of
from tallystick.chain.envelope import rlp
from tallystick.poco.escrow import Emit, Event, Revert
from tallystick.poco.ledger import Ledger
from tallystick.poco.orders import NO_DATASET_ORDER
from tallystick.poco.signing import recover
from tallystick.poco.values import Address, Hash, Wei
from tallystick.sim.whole.evm import Ask, execute, fork, logs_of
from tallystick.sim.whole.rlp import unrlp

if TYPE_CHECKING:
    from tallystick.sim.calls import Match

GWEI = 10**9
RICH: Wei = 10**20
"""What a wallet holds that nobody made poor."""
_GAS = {
    selector(contracts.CONTRIBUTE): 386_000,
    selector(contracts.REVEAL): 93_500,
    selector(contracts.CONTRIBUTE_AND_FINALIZE): 513_000,
    b"": 21_000,
}
_ANY_GAS = 100_000


def gas_of(data: bytes) -> int:
    """What a call takes."""
    return _GAS.get(data[:4], _ANY_GAS)


class Rejected(Exception):
    """The node does not take a transaction; in a node's words."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A transaction, from its signed bytes."""

    hash: str
    sender: Address
    nonce: int
    to: Address
    data: bytes
    most: Wei
    gas: int = 0
    """Its limit."""
    ready: int = 0
    """No block below this takes it."""
    at: int = 0
    """The newest block when its nonce was first sent: a replacement is as old as the first."""
    match: Match | None = None
    """A purchase; the simulated requester signs nothing."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A mined transaction that the contract refused: gas for nothing."""

    sent: Sent
    block: Block
    why: str


@dataclass(slots=True)
class Block:
    """What was mined together, and the state after it."""

    number: int
    hash: str
    parent: str
    time: int
    base: Wei
    ledger: Ledger
    counts: dict[Address, int]
    mined: tuple[Sent, ...] = ()
    receipts: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    logs: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    bloom: int = 0
    paid: dict[Address, Wei] = field(default_factory=dict[Address, Wei])
    """For gas, since the first block."""


class Blocks:
    """The chain as it is, and what waits for it."""

    def __init__(
        self, random: Random, genesis: Callable[[Emit], Ledger], *, start: int
    ) -> None:
        self.random = random
        first = genesis(lambda event: None)
        self.hub = first.clerk.domain.hub
        self.chain = [Block(0, _hash(0), _hash(-1), start, GWEI, first, {})]
        self.waiting: dict[tuple[Address, int], Sent] = {}
        self.refusals: list[Refusal] = []
        self.purses: dict[Address, Wei] = {}
        """What owners have put into their wallets, in all."""
        self.base: Wei = GWEI
        self.latency = 2
        """The most blocks that a transaction waits before it may be mined."""
        self.forgets = 0.0
        """Per transaction that is sent: every node forgets it at once."""
        self.torn = 0
        """When blocks were last taken back."""
        self.on_send: Callable[[Sent, Sent | None], None] = lambda sent, old: None
        """Told of each transaction that reaches a node, and of the one that it replaces."""
        self._serial = 0

    @property
    def head(self) -> Block:
        """The newest block."""
        return self.chain[-1]

    @property
    def ledger(self) -> Ledger:
        """The state of the newest block."""
        return self.head.ledger

    def balance(self, who: Address, block: Block | None = None) -> Wei:
        """What a wallet has left for gas, after a block."""
        paid = (block or self.head).paid.get(who, 0)
        return max(0, self.purses.get(who, RICH) - paid)

    def send(self, raw: bytes, chain_id: int) -> str:
        """Take a signed transaction. Raises Rejected."""
        sent = read(raw, chain_id)
        key = sent.sender, sent.nonce
        if sent.nonce < self.head.counts.get(sent.sender, 0):
            raise Rejected("nonce too low")
        if self.balance(sent.sender) < sent.gas * sent.most:
            raise Rejected("insufficient funds for gas * price + value")
        old = self.waiting.get(key)
        self.on_send(sent, old)
        if old is not None and old.hash == sent.hash:
            raise Rejected("already known")
        if old is not None and sent.most * 10 < old.most * 11:
            raise Rejected("replacement transaction underpriced")
        if self.random.random() >= self.forgets:
            self.waiting[key] = replace(
                sent, ready=self._later(), at=old.at if old else self.head.number
            )
        return sent.hash

    def buy(self, buyer: Address, match: Match) -> None:
        """Somebody wants this deal."""
        nonce = sum(1 for who, _ in self.waiting if who == buyer)
        nonce += self.head.counts.get(buyer, 0)
        name = "0x" + keccak(buyer + nonce.to_bytes(8, "big")).hex()
        sent = Sent(name, buyer, nonce, self.hub, b"", 1 << 60, self._later(), match=match)
        self.waiting[buyer, nonce] = sent

    def mine(self, time: int) -> Block:
        """The next block."""
        parent, number = self.head, self.head.number + 1
        self._serial += 1
        block = Block(
            number,
            _hash(self._serial),
            parent.hash,
            time,
            self.base,
            parent.ledger,
            parent.counts,
            paid=parent.paid,
        )
        taken = self._take(block)
        if taken:
            events: list[Event] = []
            block.ledger = fork(parent.ledger, events.append)
            block.counts, block.mined = dict(parent.counts), tuple(taken)
            block.paid = dict(parent.paid)
            for sent in taken:
                self._execute(block, sent, events)
        self.chain.append(block)
        return block

    def reorg(self, depth: int, now: int) -> int:
        """Take back `depth` blocks and mine as many others; some transactions come later, or
        are forgotten. How many blocks went."""
        depth = min(depth, len(self.chain) - 1)
        if depth == 0:
            return 0
        gone = self.chain[-depth:]
        del self.chain[-depth:]
        self.torn = now
        for sent in (each for block in gone for each in block.mined):
            if sent.match is not None or self.random.random() >= self.forgets:
                late = self.random.random() < 0.5
                again = replace(sent, ready=self._later() if late else 0)
                self.waiting.setdefault((sent.sender, sent.nonce), again)
        for block in gone:
            self.mine(block.time)
        return depth

    def _later(self) -> int:
        return self.head.number + 1 + self.random.randint(0, self.latency)

    def _take(self, block: Block) -> list[Sent]:
        taken = []
        counts = dict(block.counts)
        senders = sorted({who for who, _ in self.waiting})
        self.random.shuffle(senders)
        for who in senders:
            left = self.balance(who, block)
            while (sent := self.waiting.get((who, counts.get(who, 0)))) is not None:
                if sent.ready > block.number or sent.most < block.base:
                    break
                if sent.match is None and left < sent.gas * sent.most:
                    break
                del self.waiting[who, sent.nonce]
                counts[who] = sent.nonce + 1
                left -= _fee(sent, block)
                taken.append(sent)
        for who, nonce in [k for k in self.waiting if k[1] < counts.get(k[0], 0)]:
            del self.waiting[who, nonce]
        return taken

    def _execute(self, block: Block, sent: Sent, events: list[Event]) -> None:
        events.clear()
        block.counts[sent.sender] = sent.nonce + 1
        block.paid[sent.sender] = block.paid.get(sent.sender, 0) + _fee(sent, block)
        status = 1
        try:
            ask = Ask(block.ledger, sent.sender, block.time)
            _do(ask, sent)
        except (Revert, BadAnswer) as revert:
            status = 0
            events.clear()
            self.refusals.append(Refusal(sent, block, str(revert)))
        place = {
            "blockNumber": hex(block.number),
            "blockHash": block.hash,
            "transactionHash": sent.hash,
        }
        logs: list[dict[str, Any]] = []
        for log in logs_of(self.hub, events):
            at = hex(len(block.logs) + len(logs))
            logs.append({**log, **place, "logIndex": at, "blockTimestamp": hex(block.time)})
        block.logs += logs
        block.bloom |= bloom_of(logs)
        block.receipts[sent.hash] = {
            **place,
            "from": str(sent.sender),
            "status": hex(status),
            "gasUsed": hex(gas_of(sent.data)),
            "effectiveGasPrice": hex(min(sent.most, block.base)),
            "logs": logs,
        }


def _fee(sent: Sent, block: Block) -> Wei:
    return gas_of(sent.data) * min(sent.most, block.base) if sent.match is None else 0


def _do(ask: Ask, sent: Sent) -> None:
    if sent.match is None:
        execute(ask, sent.data)
        return
    match = sent.match
    orders = match.app, NO_DATASET_ORDER, match.pool, match.request
    ask.ledger.clerk.match_orders(*orders, now=ask.now)


def read(raw: bytes, chain_id: int) -> Sent:
    """A transaction of type 2 from its bytes. Raises Rejected for any other."""
    if raw[:1] != b"\x02":
        raise Rejected("transaction type not supported")
    items = unrlp(raw[1:])
    chain, nonce, _, most, gas, to, _, data, _, parity, r, s = items
    if int.from_bytes(chain, "big") != chain_id:
        raise Rejected("invalid chain id")
    signature = r.rjust(32, b"\0") + s.rjust(32, b"\0")
    signature += bytes([27 + int.from_bytes(parity, "big")])
    return Sent(
        hash="0x" + keccak(raw).hex(),
        sender=recover(Hash(keccak(b"\x02" + _unsigned(items))), signature),
        nonce=int.from_bytes(nonce, "big"),
        to=Address(to),
        data=data,
        most=int.from_bytes(most, "big"),
        gas=int.from_bytes(gas, "big"),
    )


def _unsigned(items: list[bytes]) -> bytes:
    return rlp([*items[:8], []])


def _hash(serial: int) -> str:
    return "0x" + keccak(b"block" + serial.to_bytes(8, "big", signed=True)).hex()
