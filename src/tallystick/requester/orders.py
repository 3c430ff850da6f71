"""Signed orders: what owners offer and what a requester asks for."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from tallystick.poco.orders import (
    AppOrder,
    DatasetOrder,
    Domain,
    RequestOrder,
    WorkerpoolOrder,
    order_hash,
)
from tallystick.poco.values import ZERO_ADDRESS, Address, Hash

UNLIMITED = 2**53 - 1
"""The volume of an order that never runs out: the largest number that every client reads."""

MAX_TRUST = 1000
"""The highest trust that the local workerpool offers to reach."""

POOL_PRICES: Mapping[int, int] = {
    0: 1_000_000_000,
    1: 2_000_000_000,
    2: 5_000_000_000,
    3: 10_000_000_000,
    4: 20_000_000_000,
}
"""nRLC per task and category at the local workerpool; a worker stakes 30 % of it."""


class Signer(Protocol):
    """A wallet, as far as orders need one."""

    @property
    def address(self) -> Address:
        """Who signs."""
        ...

    def sign_hash(self, digest: Hash) -> bytes:
        """65 bytes r, s, v over `digest` as it is."""
        ...


_O = TypeVar("_O", AppOrder, DatasetOrder, WorkerpoolOrder, RequestOrder)


def signed(order: _O, domain: Domain, signer: Signer) -> _O:
    """`order` with the signature of `signer`."""
    return replace(order, sign=signer.sign_hash(order_hash(order, domain)))


def app_offer(app: Address, *, price: int, owner: Signer, domain: Domain) -> AppOrder:
    """Whoever pays `price` nRLC per task may run `app`."""
    order = AppOrder(app=app, price=price, volume=UNLIMITED, salt=new_salt())
    return signed(order, domain, owner)


def dataset_offer(
    dataset: Address,
    *,
    price: int,
    owner: Signer,
    domain: Domain,
    requester: Address = ZERO_ADDRESS,
) -> DatasetOrder:
    """Whoever pays `price` nRLC per task may compute on `dataset`; or only `requester` may."""
    order = DatasetOrder(
        dataset=dataset,
        price=price,
        volume=UNLIMITED,
        requester_restrict=requester,
        salt=new_salt(),
    )
    return signed(order, domain, owner)


def workerpool_offer(
    workerpool: Address, *, category: int, price: int, owner: Signer, domain: Domain
) -> WorkerpoolOrder:
    """`workerpool` computes tasks of `category` for `price` nRLC each, at any usual trust."""
    order = WorkerpoolOrder(
        workerpool=workerpool,
        price=price,
        volume=UNLIMITED,
        category=category,
        trust=MAX_TRUST,
        salt=new_salt(),
    )
    return signed(order, domain, owner)


def pool_offers(
    workerpool: Address, *, categories: Mapping[int, int], owner: Signer, domain: Domain
) -> tuple[WorkerpoolOrder, ...]:
    """One order a category of `categories` (category to nRLC per task)."""
    return tuple(
        workerpool_offer(workerpool, category=category, price=price, owner=owner, domain=domain)
        for category, price in categories.items()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a requester wants computed, before anybody's price is known."""

    category: int = 0
    trust: int = 1
    count: int = 1
    """How many tasks; each computes the same with its own index."""
    max_price: int | None = None
    """nRLC per task for app, dataset and workerpool together; None: whatever is cheapest."""
    params: str = ""
    callback: Address = ZERO_ADDRESS
    beneficiary: Address | None = None
    """Who may read the result; None: the requester."""


def new_salt() -> Hash:
    """Random, so that no two orders are the same one."""
    return Hash(secrets.token_bytes(32))
