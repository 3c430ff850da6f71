"""Blocks, transactions and receipts as a node tells them, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tallystick.chain.abi import BadAnswer, quantity, unhex
from tallystick.chain.answers import RpcError
from tallystick.chain.rpc import Rpc
from tallystick.poco.values import Address, Hash, Instant, Wei


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """What was asked of the chain. `block` is None while it is not mined."""

    hash: Hash
    block: int | None
    block_hash: Hash | None
    place: int
    """Within the block."""
    sender: Address
    to: Address | None
    """None: it creates a contract."""
    value: Wei
    data: bytes
    nonce: int
    gas: int
    """The most it may use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A log that nobody has read yet."""

    address: Address
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of a transaction."""

    ok: bool
    gas_used: int
    gas_price: Wei
    created: Address | None
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block with its transactions."""

    number: int
    hash: Hash
    parent: Hash
    timestamp: Instant
    gas_used: int
    gas_limit: int
    base_fee: Wei
    transactions: tuple[Transaction, ...]


async def block(rpc: Rpc, at: int | Hash | str) -> Block | None:
    """The block of this number, hash or tag; None when there is none. Raises Unavailable."""
    if isinstance(at, Hash):
        found = await rpc.call("eth_getBlockByHash", str(at), True)
    else:
        found = await rpc.call("eth_getBlockByNumber", _tag(at), True)
    return None if found is None else _read(_block, found)


async def blocks(rpc: Rpc, numbers: Sequence[int]) -> list[Block]:
    """Those of these blocks that exist, in this order. Raises Unavailable."""
    answers = await rpc.batch([("eth_getBlockByNumber", [_tag(n), True]) for n in numbers])
    return [_read(_block, each) for each in _all(answers) if each is not None]


async def busy(rpc: Rpc, numbers: Sequence[int]) -> list[int]:
    """Those of these blocks that hold transactions. Raises Unavailable."""
    ask = "eth_getBlockTransactionCountByNumber"
    answers = _all(await rpc.batch([(ask, [_tag(number)]) for number in numbers]))
    counts = zip(numbers, answers, strict=True)
    return [number for number, count in counts if count is not None and quantity(count)]


async def receipts(rpc: Rpc, numbers: Sequence[int]) -> dict[Hash, Receipt]:
    """Of all transactions of these blocks. Raises Unavailable."""
    answers = await rpc.batch([("eth_getBlockReceipts", [_tag(n)]) for n in numbers])
    return {
        Hash(each["transactionHash"]): _read(_receipt, each)
        for answer in _all(answers)
        for each in answer or ()
    }


async def transaction(rpc: Rpc, hash: Hash) -> tuple[Transaction, Receipt | None] | None:
    """A transaction and what became of it so far; None when it is unknown."""
    ask = [str(hash)]
    found, became = _all(
        await rpc.batch([("eth_getTransactionByHash", ask), ("eth_getTransactionReceipt", ask)])
    )
    if found is None:
        return None
    return _read(_transaction, found), None if became is None else _read(_receipt, became)


async def refusal(rpc: Rpc, one: Transaction) -> bytes | None:
    """What a reverted transaction was answered; None when the node cannot tell any more."""
    trace = await _quietly(
        rpc, "debug_traceTransaction", str(one.hash), {"tracer": "callTracer"}
    )
    if isinstance(trace, Mapping) and "error" in trace:
        return unhex(trace.get("output") or "0x")
    return None


async def _quietly(rpc: Rpc, method: str, *params: Any) -> Any:
    """None where the node refuses: not every node can do it, nor for every block."""
    (answer,) = await rpc.batch([(method, params)])
    return None if isinstance(answer, RpcError) else answer


def _tag(at: int | str) -> str:
    return hex(at) if isinstance(at, int) else at


def _all(answers: Sequence[Any]) -> Sequence[Any]:
    for each in answers:
        if isinstance(each, RpcError):
            raise each
    return answers


def _read(reader: Any, told: Any) -> Any:
    try:
        return reader(told)
    except (KeyError, TypeError, ValueError, AttributeError) as trouble:
        raise BadAnswer(f"the node tells something without its parts: {trouble}") from trouble


def _block(told: Mapping[str, Any]) -> Block:
    return Block(
        number=quantity(told["number"]),
        hash=Hash(told["hash"]),
        parent=Hash(told["parentHash"]),
        timestamp=quantity(told["timestamp"]),
        gas_used=quantity(told["gasUsed"]),
        gas_limit=quantity(told["gasLimit"]),
        base_fee=quantity(told.get("baseFeePerGas") or "0x0"),
        transactions=tuple(map(_transaction, told["transactions"])),
    )


def _transaction(told: Mapping[str, Any]) -> Transaction:
    number, block_hash, to = told.get("blockNumber"), told.get("blockHash"), told.get("to")
    return Transaction(
        hash=Hash(told["hash"]),
        block=None if number is None else quantity(number),
        block_hash=Hash(block_hash) if block_hash else None,
        place=quantity(told.get("transactionIndex") or "0x0"),
        sender=Address(told["from"]),
        to=Address(to) if to else None,
        value=quantity(told["value"]),
        data=unhex(told["input"]),
        nonce=quantity(told["nonce"]),
        gas=quantity(told["gas"]),
    )


def _receipt(told: Mapping[str, Any]) -> Receipt:
    created = told.get("contractAddress")
    return Receipt(
        ok=quantity(told["status"]) == 1,
        gas_used=quantity(told["gasUsed"]),
        gas_price=quantity(told.get("effectiveGasPrice") or "0x0"),
        created=Address(created) if created else None,
        events=tuple(
            Event(
                address=Address(each["address"]),
                topics=tuple(unhex(topic) for topic in each["topics"]),
                data=unhex(each["data"]),
            )
            for each in told["logs"]
        ),
    )
