"""What there was before the first second: assets, orders, accounts."""

from __future__ import annotations

from functools import lru_cache

from eth_hash.auto import keccak

from tallystick.poco.clerk import Workerpool
from tallystick.poco.deal import Category, deal_id
from tallystick.poco.escrow import Emit
from tallystick.poco.ledger import Ledger
from tallystick.poco.orders import (
    AppOrder,
    Domain,
    RequestOrder,
    WorkerpoolOrder,
    order_hash,
)
from tallystick.poco.values import Address, DealId, Hash
from tallystick.sim.accounts import APP_OWNER, REQUESTER, RICH, SCHEDULER, worker_address
from tallystick.sim.calls import Match
from tallystick.sim.odds import Plan, Purchase

APP, POOL = Address(b"\xa0" * 20), Address(b"\xb0" * 20)
DOMAIN = Domain(31337, Address(b"\xcc" * 20))


@lru_cache(maxsize=8)
def matches(plan: Plan) -> tuple[tuple[Purchase, Match], ...]:
    """Every match that somebody will try to make, one for each lot of a purchase."""
    return tuple(
        (purchase, Match(_app_order(purchase, n), _pool_order(purchase, n, lot), request))
        for n, purchase in enumerate(plan.purchases)
        for request in (_request(purchase, n),)
        for lot in range(len(purchase.lots))
    )


@lru_cache(maxsize=8)
def _signatures(plan: Plan) -> dict[Hash, Address]:
    """Every order, signed on chain by its owner."""
    return {
        order_hash(order, DOMAIN): owner
        for _, match in matches(plan)
        for owner, order in (
            (APP_OWNER, match.app),
            (SCHEDULER, match.pool),
            (REQUESTER, match.request),
        )
    }


def possible_deals(plan: Plan) -> dict[DealId, Purchase]:
    """Every deal that can come about, in whatever order the lots are bought."""
    return {
        deal_id(order_hash(_request(purchase, n), DOMAIN), first): purchase
        for n, purchase in enumerate(plan.purchases)
        for first in range(purchase.volume)
    }


def genesis(plan: Plan, emit: Emit) -> Ledger:
    """The hub before the first block: everybody has deposited, every order is signed."""
    ledger = Ledger(emit, DOMAIN)
    clerk = ledger.clerk
    clerk.registries.apps[APP] = APP_OWNER
    clerk.registries.workerpools[POOL] = Workerpool(SCHEDULER)
    clerk.categories.extend(
        Category(id=n, name=f"C{n}", description="", time_unit=purchase.time_unit)
        for n, purchase in enumerate(plan.purchases)
    )
    clerk.presigned.update(_signatures(plan))
    for account in (SCHEDULER, REQUESTER):
        ledger.escrow.deposit(account, RICH)
    for number, machine in enumerate(plan.machines, start=1):
        ledger.escrow.deposit(worker_address(number), machine.deposit)
        ledger.scores[worker_address(number)] = machine.score
    return ledger


def _request(purchase: Purchase, n: int) -> RequestOrder:
    return RequestOrder(
        app=APP,
        app_max_price=purchase.price,
        workerpool_max_price=purchase.price,
        requester=REQUESTER,
        volume=purchase.volume,
        category=n,
        trust=purchase.trust,
        salt=_salt(n, 0),
    )


def _app_order(purchase: Purchase, n: int) -> AppOrder:
    return AppOrder(
        app=APP, price=purchase.price // 10, volume=purchase.volume, salt=_salt(n, 1)
    )


def _pool_order(purchase: Purchase, n: int, lot: int) -> WorkerpoolOrder:
    return WorkerpoolOrder(
        workerpool=POOL,
        price=purchase.price,
        volume=purchase.lots[lot],
        category=n,
        trust=purchase.trust,
        salt=_salt(n, 2 + lot),
    )


def _salt(n: int, kind: int) -> Hash:
    return Hash(keccak(bytes([n, kind])))
