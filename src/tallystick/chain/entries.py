"""What a book of transactions tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tallystick.chain.abi import quantity
from tallystick.chain.call import Call
from tallystick.chain.envelope import Price
from tallystick.poco.values import Hash, Wei


class State(StrEnum):
    """What became of a transaction."""

    WAITING = "waiting"
    """It has a nonce and is signed; the chain may take it at any time."""
    MINED = "mined"
    GIVEN_UP = "given up"
    """Its nonce went to another transaction, or the chain can never take it."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One signed form of a transaction. All forms have the same nonce and calldata."""

    hash: Hash
    raw: bytes
    price: Price
    block: int
    """The latest block when it was made."""
    at: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One call that the wallet sends."""

    id: int
    nonce: int
    call: Call
    gas: int
    cap: Wei
    state: State
    since: float
    """When it came to this state; seconds since the epoch."""
    next: int | None
    """The entry that does the same with another nonce, when this one lost its own."""
    reason: str
    receipt: dict[str, Any] | None
    attempts: tuple[Attempt, ...]
    """Oldest first, never empty."""


Sign = Callable[[int], tuple[bytes, Price]]
"""Signs a call for a nonce."""


def fee_of(receipt: Mapping[str, Any]) -> Wei:
    """What the transaction of this receipt has cost."""
    return gas_of(receipt) * quantity(receipt.get("effectiveGasPrice") or "0x0")


def gas_of(receipt: Mapping[str, Any]) -> int:
    """What it has used."""
    return quantity(receipt.get("gasUsed") or "0x0")
