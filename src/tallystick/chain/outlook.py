"""What a node says about a wallet's transactions, asked in one round trip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tallystick.chain.abi import quantity
from tallystick.chain.answers import Reverted, RpcError
from tallystick.chain.call import Call
from tallystick.chain.entries import Entry
from tallystick.chain.fees import Network
from tallystick.chain.queries import read_head
from tallystick.chain.rpc import Request, Rpc
from tallystick.poco.values import Address, Hash, Wei

_BLOCK: Final[Request] = ("eth_blockNumber", ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """The wallet's situation at the latest block."""

    count: int
    """Transactions of the wallet in the chain: the next nonce."""
    pending: int
    """The same with those that wait in the node."""
    block: int
    network: Network
    receipts: Mapping[Hash, dict[str, Any]]
    """Of those asked about that are mined."""
    known: frozenset[Hash]
    """Those asked about which the node has, mined or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a call would take, and what the wallet has."""

    gas: int | None
    """None when the contract would refuse the call."""
    refusal: str
    """The contract's words in that case; "" when it has none."""
    balance: Wei | None
    """None when the node does not tell."""
    outlook: Outlook


@dataclass(frozen=True, slots=True, kw_only=True)
class Glimpse:
    """The little that has to be known of a wallet of which nothing waits."""

    count: int
    """Transactions of the wallet in the chain: the next nonce."""
    block: int


async def glance(rpc: Rpc, wallet: Address) -> Glimpse:
    """Whether anything happened to a wallet of which nothing waits. Raises `Unavailable`."""
    count, block = map(_good, await rpc.batch([_count(wallet, "latest"), _BLOCK]))
    return Glimpse(count=quantity(count), block=quantity(block))


async def look(rpc: Rpc, wallet: Address, entries: Sequence[Entry] = ()) -> Outlook:
    """How things stand, and where `entries` are. Raises `Unavailable`."""
    hashes = [attempt.hash for entry in entries for attempt in entry.attempts]
    newest = [entry.attempts[-1].hash for entry in entries]
    answers = await rpc.batch(
        _situation(wallet)
        + [("eth_getTransactionReceipt", (str(each),)) for each in hashes]
        + [("eth_getTransactionByHash", (str(each),)) for each in newest]
    )
    told, found = answers[len(_situation(wallet)) :], len(hashes)
    receipts = zip(hashes, map(_good, told[:found]), strict=True)
    known = zip(newest, map(_good, told[found:]), strict=True)
    return _outlook(
        answers,
        receipts={each: receipt for each, receipt in receipts if receipt is not None},
        known=frozenset(each for each, transaction in known if transaction is not None),
    )


async def estimate(rpc: Rpc, wallet: Address, call: Call) -> Estimate:
    """What `call` would take now. Raises `Unavailable`."""
    step = {"from": str(wallet), "to": str(call.to), "data": "0x" + call.data.hex()}
    if call.value:
        step["value"] = hex(call.value)
    situation = _situation(wallet)
    answers = await rpc.batch(
        [
            *situation,
            ("eth_getBalance", (str(wallet), "latest")),
            ("eth_estimateGas", (step,)),
        ]
    )
    balance, gas = answers[len(situation) :]
    refusal = gas.reason if isinstance(gas, Reverted) else None
    return Estimate(
        gas=quantity(_good(gas)) if refusal is None else None,
        refusal=refusal or "",
        balance=None if isinstance(balance, RpcError) else quantity(balance),
        outlook=_outlook(answers, receipts={}, known=frozenset()),
    )


def _situation(wallet: Address) -> list[Request]:
    return [
        _count(wallet, "latest"),
        _count(wallet, "pending"),
        ("eth_getBlockByNumber", ("latest", False)),
        ("eth_gasPrice", ()),
        ("eth_maxPriorityFeePerGas", ()),
    ]


def _count(wallet: Address, when: str) -> Request:
    return "eth_getTransactionCount", (str(wallet), when)


def _outlook(
    answers: Sequence[Any], *, receipts: Mapping[Hash, dict[str, Any]], known: frozenset[Hash]
) -> Outlook:
    count, pending, block, price, tip = answers[:5]
    head = read_head(_good(block))
    return Outlook(
        count=quantity(_good(count)),
        pending=quantity(_good(pending)),
        block=head.number,
        network=read_network(block, price, tip),
        receipts=receipts,
        known=known,
    )


def read_network(block: Any, price: Any, tip: Any) -> Network:
    """What a node says of gas; what it did not answer is unknown, not zero."""
    ask = None if isinstance(price, RpcError) else quantity(price)
    base = quantity(block["baseFeePerGas"]) if block.get("baseFeePerGas") else None
    if isinstance(tip, RpcError):
        # Not every node has this method; the difference is what it would tell.
        tip = hex(max((ask or 0) - (base or 0), 0))
    return Network(price=ask, tip=quantity(tip), base=base)


def _good(answer: Any) -> Any:
    if isinstance(answer, RpcError):
        raise answer
    return answer
