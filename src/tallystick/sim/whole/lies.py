"""What a node tells that lies at the true height: believable, and wrong.

Its block numbers, hashes, times and headers are those of the chain, so nothing that `Rpc`
compares gives it away.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import TYPE_CHECKING, Any, Protocol, Self

from tallystick.poco.values import Address

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

_OLDEST = 8
_MISCOUNTS = (-1, 1, 2)


class Honest(Protocol):
    """A node, as far as its lies need to know it."""

    def truth(self, method: str, params: Sequence[Any]) -> Any:
        """The result of one request. Raises NodeSays."""

    def thinking_back(self, blocks: int) -> AbstractContextManager[None]:
        """Questions about state are answered as so many blocks ago."""

    def read(self, raw: str) -> tuple[str, Address, int]:
        """Hash, sender and nonce of a signed transaction. Raises NodeSays."""


class Kind(StrEnum):
    """What a node lies about."""

    OLD_STATE = "an old state"
    """Tasks, votes, accounts, estimates: of some blocks ago."""
    NO_LOGS = "blocks without their logs"
    NO_RECEIPT = "no receipts"
    FAILED = "that calls failed"
    MISCOUNTS = "a wrong count of transactions"
    DROPS = "that it has transactions that it dropped"


@dataclass(slots=True)
class Lie:
    """One node's, for a while."""

    kind: Kind
    size: int
    """Blocks that its state is old, or by how many it miscounts."""
    told: int = 0
    """How often what it told was not the truth."""
    _dropped: dict[str, tuple[Address, int]] = field(
        default_factory=dict[str, tuple[Address, int]]
    )
    """By their hashes, senders and nonces."""

    @classmethod
    def any(cls, random: Random) -> Self:
        """Some lie."""
        kind = random.choice(list(Kind))
        miscounts = kind is Kind.MISCOUNTS
        size = random.choice(_MISCOUNTS) if miscounts else random.randint(1, _OLDEST)
        return cls(kind, size)

    def answer(self, node: Honest, method: str, params: Sequence[Any]) -> Any:
        """What the node says to a request. Raises NodeSays."""
        match self.kind, method:
            case Kind.DROPS, "eth_sendRawTransaction":
                return self._drop(node, params[0])
            case Kind.OLD_STATE, "eth_call" | "eth_estimateGas":
                return self._old(node, method, params)
            case _:
                pass
        truth = node.truth(method, params)
        told = self._twisted(method, params, truth)
        self.told += told != truth
        return told

    def _twisted(self, method: str, params: Sequence[Any], truth: Any) -> Any:
        match self.kind, method:
            case Kind.NO_LOGS, "eth_getLogs":
                return []
            case Kind.NO_RECEIPT, "eth_getTransactionReceipt":
                return None
            case Kind.FAILED, "eth_getTransactionReceipt":
                return truth and {**truth, "status": "0x0", "logs": []}
            case Kind.MISCOUNTS, "eth_getTransactionCount":
                return hex(max(0, int(truth, 16) + self.size))
            case Kind.DROPS, "eth_getTransactionByHash":
                return truth or ({"hash": params[0]} if params[0] in self._dropped else None)
            case Kind.DROPS, "eth_getTransactionCount":
                return self._with_dropped(params, truth)
            case _:
                return truth

    def _drop(self, node: Honest, raw: str) -> str:
        """Say thank you."""
        name, sender, nonce = node.read(raw)
        self._dropped[name] = sender, nonce
        self.told += 1
        return name

    def _with_dropped(self, params: Sequence[Any], truth: str) -> str:
        who, when = Address(params[0]), params[1]
        nonces = {nonce for sender, nonce in self._dropped.values() if sender == who}
        count = int(truth, 16)
        while when == "pending" and count in nonces:
            count += 1
        return hex(count)

    def _old(self, node: Honest, method: str, params: Sequence[Any]) -> Any:
        """The answer of `size` blocks ago."""
        self.told += 1
        with node.thinking_back(self.size):
            return node.truth(method, params)
