"""What the contracts report, as values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from tallystick.chain import contracts
from tallystick.chain.abi import BadAnswer, parameters, quantity, topic, unhex
from tallystick.chain.abi import decode as decode_values
from tallystick.poco.values import (
    ZERO_ADDRESS,
    ZERO_HASH,
    Address,
    DealId,
    Digest,
    Hash,
    Instant,
    Nrlc,
    TaskId,
)


@dataclass(frozen=True, slots=True)
class Ref:
    """Where a log stands. It is void when the chain no longer has a block of this hash."""

    block: int
    block_hash: Hash
    index: int
    """Within the block."""
    timestamp: Instant
    """Of the block; 0 in a receipt from a node that does not tell it there."""
    transaction: Hash = ZERO_HASH


@dataclass(frozen=True, slots=True)
class SchedulerNotice:
    """A deal was made for a workerpool."""

    workerpool: Address
    deal: DealId
    at: Ref


@dataclass(frozen=True, slots=True)
class OrdersMatched:
    """Four orders, told by their hashes, became a deal of `volume` tasks."""

    deal: DealId
    app: Hash
    dataset: Hash
    workerpool: Hash
    request: Hash
    volume: int
    at: Ref


@dataclass(frozen=True, slots=True)
class TaskInitialize:
    """A task may be contributed to."""

    task: TaskId
    workerpool: Address
    at: Ref


@dataclass(frozen=True, slots=True)
class TaskContribute:
    """A worker voted."""

    task: TaskId
    worker: Address
    result_hash: Hash
    at: Ref


@dataclass(frozen=True, slots=True)
class TaskConsensus:
    """A result won: those who voted for it may reveal."""

    task: TaskId
    result_hash: Hash
    at: Ref


@dataclass(frozen=True, slots=True)
class TaskReveal:
    """A worker told the result it had voted for."""

    task: TaskId
    worker: Address
    digest: Digest
    at: Ref


@dataclass(frozen=True, slots=True)
class TaskReopen:
    """Nobody revealed in time: the winning vote is rejected, others may contribute."""

    task: TaskId
    at: Ref


@dataclass(frozen=True, slots=True)
class TaskFinalize:
    """A task is completed and paid. `results` tells where the result is."""

    task: TaskId
    results: bytes
    at: Ref


@dataclass(frozen=True, slots=True)
class TaskClaimed:
    """A task failed: refunded, and all stakes of workers returned."""

    task: TaskId
    at: Ref


@dataclass(frozen=True, slots=True)
class AccurateContribution:
    """A worker was right and revealed it."""

    worker: Address
    task: TaskId
    at: Ref


@dataclass(frozen=True, slots=True)
class FaultyContribution:
    """A worker was wrong or did not reveal; its stake is gone."""

    worker: Address
    task: TaskId
    at: Ref


@dataclass(frozen=True, slots=True)
class Lock:
    """Part of an account's stake is bound."""

    account: Address
    amount: Nrlc
    at: Ref


@dataclass(frozen=True, slots=True)
class Unlock:
    """Bound stake is free again."""

    account: Address
    amount: Nrlc
    at: Ref


@dataclass(frozen=True, slots=True)
class Reward:
    """An account was paid for a task."""

    account: Address
    amount: Nrlc
    task: TaskId
    at: Ref


@dataclass(frozen=True, slots=True)
class Seize:
    """Bound stake of an account was taken for a task."""

    account: Address
    amount: Nrlc
    task: TaskId
    at: Ref


@dataclass(frozen=True, slots=True)
class AssetCreated:
    """A registry made an app, dataset or workerpool contract."""

    registry: Address
    owner: Address
    asset: Address
    at: Ref


Log: TypeAlias = (
    SchedulerNotice
    | OrdersMatched
    | TaskInitialize
    | TaskContribute
    | TaskConsensus
    | TaskReveal
    | TaskReopen
    | TaskFinalize
    | TaskClaimed
    | AccurateContribution
    | FaultyContribution
    | Lock
    | Unlock
    | Reward
    | Seize
    | AssetCreated
)

RawLog: TypeAlias = Mapping[str, Any]

# Event, number of indexed parameters, and the value's type with the types of its fields.
_Event: TypeAlias = tuple[str, int, Callable[..., Log], tuple[Callable[[Any], Any], ...]]
_EVENTS: Final[Mapping[bytes, _Event]] = {
    topic(signature): (signature, indexed, kind, fields)
    for signature, indexed, kind, fields in (
        (contracts.SCHEDULER_NOTICE, 1, SchedulerNotice, (Address, DealId)),
        (
            contracts.ORDERS_MATCHED,
            0,
            OrdersMatched,
            (DealId, Hash, Hash, Hash, Hash, int),
        ),
        (contracts.TASK_INITIALIZE, 2, TaskInitialize, (TaskId, Address)),
        (contracts.TASK_CONTRIBUTE, 2, TaskContribute, (TaskId, Address, Hash)),
        (contracts.TASK_CONSENSUS, 1, TaskConsensus, (TaskId, Hash)),
        (contracts.TASK_REVEAL, 2, TaskReveal, (TaskId, Address, Digest)),
        (contracts.TASK_REOPEN, 1, TaskReopen, (TaskId,)),
        (contracts.TASK_FINALIZE, 1, TaskFinalize, (TaskId, bytes)),
        (contracts.TASK_CLAIMED, 1, TaskClaimed, (TaskId,)),
        (contracts.ACCURATE_CONTRIBUTION, 2, AccurateContribution, (Address, TaskId)),
        (contracts.FAULTY_CONTRIBUTION, 2, FaultyContribution, (Address, TaskId)),
        (contracts.LOCK, 0, Lock, (Address, int)),
        (contracts.UNLOCK, 0, Unlock, (Address, int)),
        (contracts.REWARD, 0, Reward, (Address, int, TaskId)),
        (contracts.SEIZE, 0, Seize, (Address, int, TaskId)),
    )
}
_TRANSFER: Final = topic(contracts.TRANSFERRED)

TASK_TOPICS: Final = tuple(
    topic(signature)
    for signature in (
        contracts.TASK_INITIALIZE,
        contracts.TASK_CONTRIBUTE,
        contracts.TASK_CONSENSUS,
        contracts.TASK_REVEAL,
        contracts.TASK_REOPEN,
        contracts.TASK_FINALIZE,
        contracts.TASK_CLAIMED,
    )
)
"""The first topics of what happens to tasks, for a watcher."""


def decode(raw: RawLog) -> Log | None:
    """The value of a node's log; None for events that nobody here wants.

    Only the emitting address makes a log true: filter by it, or look at it. Raises `BadAnswer`
    when the log is malformed.
    """
    try:
        return _decode(raw, [unhex(topic) for topic in raw["topics"]])
    except (KeyError, TypeError, ValueError) as trouble:
        raise BadAnswer(f"the node tells a log without its parts: {trouble}") from trouble


def _decode(raw: RawLog, topics: Sequence[bytes]) -> Log | None:
    first = topics[0] if topics else b""
    if first == _TRANSFER:
        return _asset(raw, topics)
    if (event := _EVENTS.get(first)) is None:
        return None
    signature, indexed, kind, fields = event
    types = parameters(signature)
    if len(topics) != 1 + indexed:
        raise BadAnswer(f"a log of {signature} with {len(topics)} topics")
    values = (
        *decode_values(types[:indexed], b"".join(topics[1:])),
        *decode_values(types[indexed:], unhex(raw["data"])),
    )
    parsed = (parse(value) for parse, value in zip(fields, values, strict=True))
    return kind(*parsed, _ref(raw))


def _asset(raw: RawLog, topics: Sequence[bytes]) -> AssetCreated | None:
    """A registry's mint: a token from nobody, whose number is the new contract's address."""
    if len(topics) != 4:
        return None
    words = b"".join(topics[1:])
    giver, owner, asset = decode_values(("address", "address", "address"), words)
    if Address(giver) != ZERO_ADDRESS:
        return None
    return AssetCreated(Address(raw["address"]), Address(owner), Address(asset), _ref(raw))


def _ref(raw: RawLog) -> Ref:
    return Ref(
        block=quantity(raw["blockNumber"]),
        block_hash=Hash(raw["blockHash"]),
        index=quantity(raw["logIndex"]),
        timestamp=quantity(raw.get("blockTimestamp") or "0x0"),
        transaction=Hash(raw["transactionHash"]),
    )
