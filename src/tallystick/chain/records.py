"""What the hub and the node tell, as values. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from tallystick.poco.values import Address, DealId, Digest, Hash, Instant, Nrlc, TaskId


class TaskState(IntEnum):
    """The chain's own word for where a task is."""

    UNSET = 0
    ACTIVE = 1
    REVEALING = 2
    COMPLETED = 3
    FAILED = 4


class ContributionState(IntEnum):
    """The chain's own word for where a contribution is."""

    UNSET = 0
    CONTRIBUTED = 1
    PROVED = 2
    REJECTED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainTask:
    """A task as `viewTask` tells it."""

    id: TaskId
    state: TaskState
    deal: DealId
    index: int
    time_unit: int
    contribution_deadline: Instant
    reveal_deadline: Instant
    """0 while there is no consensus."""
    final_deadline: Instant
    consensus: Hash
    reveals: int
    winners: int
    contributors: tuple[Address, ...]
    digest: Digest
    results: bytes
    callback: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainContribution:
    """A contribution as `viewContribution` tells it."""

    state: ContributionState
    result_hash: Hash
    seal: Hash
    enclave: Address
    log_weight: int
    """Base-2 logarithm of the voting weight; 0 after contribute-and-finalize."""


@dataclass(frozen=True, slots=True)
class Account:
    """What an address has on the hub."""

    stake: Nrlc
    """Free to be used or withdrawn."""
    locked: Nrlc


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """An app contract. Name, type and multiaddr are its owner's words: not to be trusted."""

    owner: Address
    name: str
    type: str
    multiaddr: bytes
    checksum: Hash
    enclave: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A dataset contract. Name and multiaddr are its owner's words: not to be trusted."""

    owner: Address
    name: str
    multiaddr: bytes
    checksum: Hash


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerpoolInfo:
    """A workerpool contract."""

    owner: Address
    description: str
    stake_ratio: int
    """Percent of the pool's price that a worker stakes, for deals to come."""
    reward_ratio: int
    """Percent of the pot that the scheduler keeps, for deals to come."""


@dataclass(frozen=True, slots=True)
class Registries:
    """Where assets are created."""

    app: Address
    dataset: Address
    workerpool: Address


@dataclass(frozen=True, slots=True)
class Head:
    """A block: where the chain is, and by its timestamp what time it is there."""

    number: int
    hash: Hash
    parent: Hash
    timestamp: Instant
    bloom: int = 0
    """Which logs it may have; 0 where the node does not tell."""
