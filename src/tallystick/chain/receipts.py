"""What transactions cost and what the hub reported in them, whoever sent them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tallystick.chain import logs
from tallystick.chain.abi import BadAnswer, quantity
from tallystick.chain.answers import RpcError
from tallystick.chain.hub import Hub
from tallystick.chain.logs import Log
from tallystick.engine.errors import Unavailable
from tallystick.poco.values import Address, Wei


@dataclass(frozen=True, slots=True, kw_only=True)
class Mined:
    """A transaction that is in a block."""

    sender: Address
    fee: Wei
    """What its sender paid for gas."""
    gas: int = 0
    """Units of gas that it took; 0 where that is not known."""
    logs: tuple[Log, ...]
    """What the hub reported; other contracts' logs are left out."""


async def receipts(hub: Hub, transactions: Iterable[str]) -> Mapping[str, Mined]:
    """Each of these transactions by its hash, asked for together; one that the chain does not
    have (any more) is left out. Raises Unavailable."""
    hashes = list(dict.fromkeys(transactions))
    answers = await hub.rpc.batch([("eth_getTransactionReceipt", (tx,)) for tx in hashes])
    found = {}
    for tx, told in zip(hashes, answers, strict=True):
        if isinstance(told, RpcError):
            raise Unavailable(f"The node does not tell the receipt of {tx}: {told}")
        if told is not None:
            found[tx] = _mined(hub.address, told)
    return found


def _mined(hub: Address, told: Mapping[str, Any]) -> Mined:
    price = quantity(told.get("effectiveGasPrice") or "0x0")
    return Mined(
        sender=Address(told["from"]),
        fee=quantity(told["gasUsed"]) * price,
        gas=quantity(told["gasUsed"]),
        logs=tuple(_logs(hub, told)),
    )


def _logs(hub: Address, told: Mapping[str, Any]) -> Iterator[Log]:
    for raw in told.get("logs") or ():
        if raw["address"].lower() != str(hub):
            continue
        try:
            known = logs.decode(raw)
        except BadAnswer:
            continue
        if known is not None:
            yield known
