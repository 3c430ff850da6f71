"""A deal and the arithmetic it fixes for each of its tasks."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from eth_hash.auto import keccak

from tallystick.poco.values import (
    NO_TAG,
    ZERO_ADDRESS,
    Address,
    DealId,
    Hash,
    Instant,
    Nrlc,
    Tag,
    TaskId,
)

CONTRIBUTION_DEADLINE_RATIO = 7
REVEAL_DEADLINE_RATIO = 2
FINAL_DEADLINE_RATIO = 10

HEADROOM = 10
"""Seconds a call may need to be mined: none is started later than this before its deadline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """A class of tasks by how long they may take, known to every contract."""

    id: int
    name: str
    description: str
    time_unit: int
    """`workClockTimeRef` in seconds; every deadline of a task is a multiple of it."""


@dataclass(frozen=True, slots=True)
class Asset:
    """An app, dataset or workerpool as a deal remembers it: by whom and for how much."""

    pointer: Address = ZERO_ADDRESS
    """The asset's contract; zero for "no dataset"."""
    owner: Address = ZERO_ADDRESS
    """Its owner when the orders were matched. It stays so even if the asset is sold."""
    price: Nrlc = 0
    """For one task."""


@dataclass(frozen=True, slots=True)
class Deal:
    """What requester, app, dataset and workerpool agreed on, as `viewDeal` tells it."""

    id: DealId
    _: KW_ONLY
    start: Instant
    """When the orders were matched: all deadlines count from here, not from `initialize`."""
    time_unit: int
    """The category's `workClockTimeRef`; every deadline is a multiple of it."""
    trust: int
    category: int = 0
    tag: Tag = NO_TAG
    app: Asset = Asset()
    dataset: Asset = Asset()
    workerpool: Asset = Asset()
    requester: Address = ZERO_ADDRESS
    beneficiary: Address = ZERO_ADDRESS
    callback: Address = ZERO_ADDRESS
    params: str = ""
    bot_first: int = 0
    """Index of the first task; indices are absolute within the request order."""
    bot_size: int = 1
    worker_stake: Nrlc = 0
    """What a contribution locks."""
    scheduler_reward_ratio: int = 1
    """Percent of the pot that stays with the scheduler."""
    sponsor: Address = ZERO_ADDRESS
    """Who pays: normally the requester."""

    @property
    def contribution_deadline(self) -> Instant:
        """Last moment of votes: 7 time units after the deal."""
        return self.start + self.time_unit * CONTRIBUTION_DEADLINE_RATIO

    @property
    def final_deadline(self) -> Instant:
        """After it everybody gets the money back: 10 time units after the deal."""
        return self.start + self.time_unit * FINAL_DEADLINE_RATIO

    @property
    def reveal_period(self) -> int:
        """Seconds that winners have to reveal: 2 time units."""
        return self.time_unit * REVEAL_DEADLINE_RATIO

    @property
    def indices(self) -> range:
        """The index of every task of this deal."""
        return range(self.bot_first, self.bot_first + self.bot_size)

    @property
    def task_price(self) -> Nrlc:
        """What one task costs its sponsor."""
        return self.app.price + self.dataset.price + self.workerpool.price

    @property
    def has_callback(self) -> bool:
        """Whether a contract waits for the result: then the digest is that of its data."""
        return self.callback != ZERO_ADDRESS

    def task_id(self, index: int) -> TaskId:
        """The task at `index`, as the contract derives it."""
        return TaskId(keccak(self.id + index.to_bytes(32, "big")))


def deal_id(request_hash: Hash, bot_first: int) -> DealId:
    """The deal that starts at task `bot_first` of this request order."""
    return DealId(keccak(request_hash + bot_first.to_bytes(32, "big")))
