"""Transactions as the bytes that a node takes: RLP, legacy (EIP-155) and EIP-1559. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from eth_hash.auto import keccak

from tallystick.poco.values import Address, Hash, Wei

_TYPE_1559: Final = b"\x02"

Sign: TypeAlias = Callable[[Hash], bytes]
"""Makes r, s, v (27 or 28) of a hash."""

Item: TypeAlias = "bytes | int | Sequence[Item]"


@dataclass(frozen=True, slots=True)
class Price:
    """What a transaction offers for each unit of gas."""

    most: Wei
    """`maxFeePerGas`; in a legacy transaction `gasPrice`."""
    tip: Wei | None
    """`maxPriorityFeePerGas`; None makes it a legacy transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """A transaction before it is signed."""

    chain_id: int
    nonce: int
    to: Address | None
    """None creates a contract."""
    data: bytes
    gas: int
    price: Price
    value: Wei = 0


def signed(transaction: Transaction, sign: Sign) -> bytes:
    """The signed bytes, ready for `eth_sendRawTransaction`."""
    if transaction.price.tip is None:
        return _legacy(transaction, sign)
    t = transaction
    fields: list[Item] = [t.chain_id, t.nonce, transaction.price.tip, t.price.most, t.gas]
    fields += [t.to or b"", t.value, t.data, []]
    r, s, v = _signature(_TYPE_1559 + rlp(fields), sign)
    return _TYPE_1559 + rlp([*fields, v - 27, r, s])


def transaction_hash(raw: bytes) -> Hash:
    """What the chain calls the signed transaction `raw`."""
    return Hash(keccak(raw))


def rlp(item: Item) -> bytes:
    """Ethereum's serialization of nested byte strings; numbers are big-endian without zeros."""
    if isinstance(item, int):
        item = item.to_bytes((item.bit_length() + 7) // 8, "big")
    if isinstance(item, bytes):
        if len(item) == 1 and item[0] < 0x80:
            return item
        return _length(len(item), 0x80) + item
    body = b"".join(map(rlp, item))
    return _length(len(body), 0xC0) + body


def _length(length: int, offset: int) -> bytes:
    if length < 56:
        return bytes([offset + length])
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([offset + 55 + len(size)]) + size


def _legacy(t: Transaction, sign: Sign) -> bytes:
    fields: list[Item] = [t.nonce, t.price.most, t.gas, t.to or b"", t.value, t.data]
    r, s, v = _signature(rlp([*fields, t.chain_id, 0, 0]), sign)
    return rlp([*fields, v - 27 + 35 + 2 * t.chain_id, r, s])


def _signature(payload: bytes, sign: Sign) -> tuple[int, int, int]:
    signature = sign(Hash(keccak(payload)))
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    return r, s, signature[64]
