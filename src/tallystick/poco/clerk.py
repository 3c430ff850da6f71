"""Orders and deals on chain: what the hub knows of them, and how four orders become a deal.

`IexecPoco1` and `IexecOrderManagement` as a program. Two things only a node can know are
left out: signatures of accounts that are contracts (ERC-1271, EIP-7702), and restrictions
that are contracts, of which `groups` lists the members instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from tallystick.poco import tags
from tallystick.poco.deal import Asset, Category, Deal, deal_id
from tallystick.poco.escrow import Emit, Escrow, Event, Revert, require
from tallystick.poco.orders import (
    UINT256,
    AppOrder,
    DatasetOrder,
    Domain,
    Operation,
    Order,
    Refusal,
    RequestOrder,
    WorkerpoolOrder,
    admits_only_itself,
    match_refusals,
    operation_hash,
    order_hash,
)
from tallystick.poco.rewards import scheduler_stake, worker_stake
from tallystick.poco.signing import BadSignature, recover
from tallystick.poco.values import ZERO_ADDRESS, ZERO_HASH, Address, DealId, Hash, Instant, Nrlc

OVERFLOW: Final = "Panic 0x11"


def signed_by(account: Address, digest: Hash, signature: bytes) -> bool:
    """Whether the contracts take `signature` for that of `account`, which is no contract.

    A malformed signature counts as that of the zero address, as it does there. Raises Revert
    for a length that no signature has.
    """
    fits = len(signature) in (64, 65)
    require(fits, "A signature has 65 bytes, or 64.", "invalid-signature-format")
    try:
        return recover(digest, signature) == account
    except BadSignature:
        return account == ZERO_ADDRESS


@dataclass(slots=True)
class Workerpool:
    """What the hub reads from a workerpool's contract."""

    owner: Address
    worker_stake_ratio: int = 30
    scheduler_reward_ratio: int = 1


@dataclass(slots=True)
class Registries:
    """Every asset there is, and who owns it now."""

    apps: dict[Address, Address] = field(default_factory=dict[Address, Address])
    datasets: dict[Address, Address] = field(default_factory=dict[Address, Address])
    workerpools: dict[Address, Workerpool] = field(default_factory=dict[Address, Workerpool])

    def owner_of(self, asset: Address) -> Address:
        """Ask the asset's contract for its owner. Raises Revert when it is no such contract."""
        pool = self.workerpools.get(asset)
        owner = pool.owner if pool else self.apps.get(asset) or self.datasets.get(asset)
        if owner is None:
            raise Revert(f"{asset} is no app, dataset or workerpool.")
        return owner


@dataclass(frozen=True, slots=True)
class _Match:
    """Four orders that agree, each with its hash and its owner."""

    app: AppOrder
    dataset: DatasetOrder
    workerpool: WorkerpoolOrder
    request: RequestOrder
    hashes: tuple[Hash, Hash, Hash, Hash]
    owners: tuple[Address, Address, Address]

    @property
    def has_dataset(self) -> bool:
        return self.dataset.dataset != ZERO_ADDRESS

    @property
    def dataset_price(self) -> Nrlc:
        """What the empty order of no dataset says about a price is not charged."""
        return self.dataset.price if self.has_dataset else 0

    def served(self) -> Iterator[tuple[Hash, int]]:
        """Hash and volume of every order that must have something left."""
        orders: tuple[Order, ...] = (self.app, self.dataset, self.workerpool, self.request)
        for order, known_as in zip(orders, self.hashes, strict=True):
            if order is not self.dataset or self.has_dataset:
                yield known_as, order.volume


@dataclass(slots=True)
class Clerk:
    """All orders and deals of one hub. Every method is one contract call."""

    emit: Emit
    domain: Domain
    escrow: Escrow
    registries: Registries = field(default_factory=Registries)
    categories: list[Category] = field(default_factory=list[Category])
    deals: dict[DealId, Deal] = field(default_factory=dict[DealId, Deal])
    consumed: dict[Hash, int] = field(default_factory=dict[Hash, int])
    presigned: dict[Hash, Address] = field(default_factory=dict[Hash, Address])
    groups: dict[Address, set[Address]] = field(default_factory=dict[Address, set[Address]])

    def match_orders(
        self,
        app: AppOrder,
        dataset: DatasetOrder,
        workerpool: WorkerpoolOrder,
        request: RequestOrder,
        *,
        now: Instant,
        sponsor: Address | None = None,
    ) -> DealId:
        """Make a deal of the orders; `sponsor` pays, or else the requester.

        Raises Revert when the orders do not fit, are not signed or used up, or when payer
        or scheduler lack the money to lock.
        """
        match = self._agreed(app, dataset, workerpool, request)
        volume = self._volume(match)
        deal = self._deal(match, volume, now, request.requester if sponsor is None else sponsor)
        self._lock(deal)
        self.deals[deal.id] = deal
        for known_as, _ in match.served():
            self.consumed[known_as] = self.consumed.get(known_as, 0) + volume
        self.emit(Event("SchedulerNotice", (deal.workerpool.pointer, deal.id)))
        self.emit(Event("OrdersMatched", (deal.id, *match.hashes, volume)))
        if sponsor is not None:
            self.emit(Event("DealSponsored", (deal.id, sponsor)))
        return deal.id

    def manage_order(
        self, sender: Address, order: Order, operation: Operation, signature: bytes = b""
    ) -> None:
        """Sign or close `order` on chain: sent by its owner, or with the owner's signature."""
        owner = self._signer(order)
        allowed = sender == owner or signed_by(
            owner, operation_hash(order, operation, self.domain), signature
        )
        refusal = f"Only {owner} may manage this order, or who has its signature."
        require(allowed, refusal, "invalid-sender-or-signature")
        known_as, kind = order_hash(order, self.domain), type(order).__name__
        if operation is Operation.SIGN:
            self.presigned[known_as] = owner
            self.emit(Event(f"Signed{kind}", (known_as,)))
        else:
            self.consumed[known_as] = order.volume
            self.emit(Event(f"Closed{kind}", (known_as,)))

    def admits(self, restriction: Address, account: Address) -> bool:
        """Whether a restriction lets `account` in: nobody's, its own, or a group's."""
        members = self.groups.get(restriction, ())
        return admits_only_itself(restriction, account) or account in members

    def _agreed(
        self,
        app: AppOrder,
        dataset: DatasetOrder,
        workerpool: WorkerpoolOrder,
        request: RequestOrder,
    ) -> _Match:
        refusals = match_refusals(
            *(app, dataset, workerpool, request),
            categories=len(self.categories),
            admits=self.admits,
        )
        for refusal in refusals:
            raise Revert(refusal.sentence, refusal.revert_reason)
        has_dataset = dataset.dataset != ZERO_ADDRESS
        app_owner, app_hash = self._vouched(app, app.app, 0x20)
        dataset_owner, dataset_hash = (
            self._vouched(dataset, dataset.dataset, 0x30)
            if has_dataset
            else (ZERO_ADDRESS, ZERO_HASH)
        )
        pool_owner, pool_hash = self._vouched(workerpool, workerpool.workerpool, 0x40)
        request_hash = self._signed(request, request.requester, 0x50)
        return _Match(
            *(app, dataset, workerpool, request),
            hashes=(app_hash, dataset_hash, pool_hash, request_hash),
            owners=(app_owner, dataset_owner, pool_owner),
        )

    def _vouched(self, order: Order, asset: Address, code: int) -> tuple[Address, Hash]:
        """The owner of a registered asset and the hash of the order it signed."""
        owner = self.registries.owner_of(asset)
        registry = {
            0x20: self.registries.apps.keys(),
            0x30: self.registries.datasets.keys(),
            0x40: self.registries.workerpools.keys(),
        }[code]
        require(
            asset in registry, f"{asset} is not in the registry of its kind.", _reason(code)
        )
        return owner, self._signed(order, owner, code + 1)

    def _signed(self, order: Order, owner: Address, code: int) -> Hash:
        known_as = order_hash(order, self.domain)
        if owner == ZERO_ADDRESS or self.presigned.get(known_as) != owner:
            valid = signed_by(owner, known_as, order.sign)
            require(valid, f"{owner} has not signed its {type(order).__name__}.", _reason(code))
        return known_as

    def _signer(self, order: Order) -> Address:
        match order:
            case AppOrder():
                return self.registries.owner_of(order.app)
            case DatasetOrder():
                return self.registries.owner_of(order.dataset)
            case WorkerpoolOrder():
                return self.registries.owner_of(order.workerpool)
            case RequestOrder():
                return order.requester

    def _volume(self, match: _Match) -> int:
        left = (volume - self.consumed.get(known_as, 0) for known_as, volume in match.served())
        volume = min(left)
        require(volume > 0, "One of the orders is used up or closed.", _reason(0x60))
        return volume

    def _deal(self, match: _Match, volume: int, now: Instant, sponsor: Address) -> Deal:
        request, pool = match.request, self.registries.workerpools[match.workerpool.workerpool]
        first = self.consumed.get(match.hashes[3], 0)
        app_owner, dataset_owner, pool_owner = match.owners
        return Deal(
            deal_id(match.hashes[3], first),
            start=now,
            time_unit=self.categories[request.category].time_unit,
            trust=max(request.trust, 1),
            category=request.category,
            tag=tags.union(match.app.tag, match.dataset.tag, request.tag),
            app=Asset(match.app.app, app_owner, match.app.price),
            dataset=Asset(match.dataset.dataset, dataset_owner, match.dataset_price),
            workerpool=Asset(match.workerpool.workerpool, pool_owner, match.workerpool.price),
            requester=request.requester,
            beneficiary=request.beneficiary,
            callback=request.callback,
            params=request.params,
            bot_first=first,
            bot_size=volume,
            worker_stake=worker_stake(match.workerpool.price, pool.worker_stake_ratio),
            scheduler_reward_ratio=pool.scheduler_reward_ratio,
            sponsor=sponsor,
        )

    def _lock(self, deal: Deal) -> None:
        """Lock the price of all tasks and the scheduler's stake on them, or nothing.

        A stake beyond all numbers is no case of its own: no sponsor could pay such a price.
        """
        price = deal.workerpool.price
        due = (
            price * self.registries.workerpools[deal.workerpool.pointer].worker_stake_ratio,
            deal.task_price * deal.bot_size,
        )
        require(max(due) < UINT256, "No contract can hold such an amount.", OVERFLOW)
        self.escrow.lock(
            (deal.sponsor, deal.task_price * deal.bot_size),
            (deal.workerpool.owner, scheduler_stake(price) * deal.bot_size),
        )


def _reason(code: int) -> str:
    return Refusal(code, "").revert_reason
