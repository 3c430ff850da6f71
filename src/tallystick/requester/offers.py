"""Which of the offers on the book a request takes: the cheapest that fit together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tallystick.poco.orders import (
    AppOrder,
    DatasetOrder,
    RequestOrder,
    WorkerpoolOrder,
    match_refusals,
)
from tallystick.poco.values import Address, Hash, Nrlc
from tallystick.requester.amounts import show_amount
from tallystick.requester.book import Offer
from tallystick.requester.orders import Wish
from tallystick.requester.refusals import CannotBuy

Remaining = Callable[[Offer], Awaitable[int]]
"""How many tasks an offer still serves, by the chain's count."""

_Offer = TypeVar("_Offer", AppOrder, DatasetOrder, WorkerpoolOrder)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Three offers that fit together."""

    app: AppOrder
    dataset: DatasetOrder
    workerpool: WorkerpoolOrder

    @property
    def price(self) -> Nrlc:
        """For one task."""
        return self.app.price + self.dataset.price + self.workerpool.price

    def request(self, wish: Wish, *, requester: Address, salt: Hash) -> RequestOrder:
        """The unsigned order that asks for `wish` on these terms, from this workerpool only."""
        return RequestOrder(
            app=self.app.app,
            app_max_price=self.app.price,
            dataset=self.dataset.dataset,
            dataset_max_price=self.dataset.price,
            workerpool=self.workerpool.workerpool,
            workerpool_max_price=self.workerpool.price,
            requester=requester,
            volume=wish.count,
            category=wish.category,
            trust=wish.trust,
            beneficiary=wish.beneficiary or requester,
            callback=wish.callback,
            params=wish.params,
            salt=salt,
        )


async def cheapest(offers: Iterable[_Offer], remaining: Remaining) -> _Offer | None:
    """The cheapest of `offers` that is not used up."""
    for offer in sorted(offers, key=lambda o: o.price):
        if await remaining(offer) > 0:
            return offer
    return None


async def settle(
    wish: Wish,
    *,
    app: AppOrder,
    dataset: DatasetOrder,
    pools: Sequence[WorkerpoolOrder],
    requester: Address,
    remaining: Remaining,
) -> Terms:
    """The cheapest workerpool's offer that serves `wish`, with the app's and the dataset's.

    Raises CannotBuy: nobody offers it, or nobody at the price that `wish` allows.
    """
    refusals: list[str] = []
    fitting = []
    for pool in _of_category(pools, wish.category):
        terms = Terms(app=app, dataset=dataset, workerpool=pool)
        against = _refusals(terms, wish, requester)
        if against:
            refusals += against
        else:
            fitting.append(pool)
    pool_ = await cheapest(fitting, remaining)
    if pool_ is None:
        raise CannotBuy(_nobody(wish, fitting, refusals))
    terms = Terms(app=app, dataset=dataset, workerpool=pool_)
    _within(wish, terms)
    return terms


def _of_category(pools: Sequence[WorkerpoolOrder], category: int) -> list[WorkerpoolOrder]:
    found = [pool for pool in pools if pool.category == category]
    if pools and not found:
        offered = ", ".join(map(str, sorted({pool.category for pool in pools})))
        raise CannotBuy(
            f"No workerpool offers category {category}; on offer are the categories {offered}."
        )
    return found


def _refusals(terms: Terms, wish: Wish, requester: Address) -> list[str]:
    request = terms.request(wish, requester=requester, salt=terms.app.salt)
    found = match_refusals(terms.app, terms.dataset, terms.workerpool, request)
    return [refusal.sentence for refusal in found]


def _nobody(wish: Wish, fitting: Sequence[WorkerpoolOrder], refusals: Sequence[str]) -> str:
    asked = f"category {wish.category} at trust {wish.trust}"
    if fitting:
        return f"Every offer of a workerpool for {asked} is used up; it must publish a new one."
    if not refusals:
        return f"No workerpool offers anything, so none computes {asked}."
    return f"No workerpool offers {asked}: " + " ".join(dict.fromkeys(refusals))


def _within(wish: Wish, terms: Terms) -> None:
    if wish.max_price is None or terms.price <= wish.max_price:
        return
    raise CannotBuy(
        f"The cheapest offer costs {show_amount(terms.price)} a task "
        f"(app {show_amount(terms.app.price)}, dataset {show_amount(terms.dataset.price)}, "
        f"workerpool {show_amount(terms.workerpool.price)}), more than the maximum of "
        f"{show_amount(wish.max_price)}: raise --max-price or choose another category."
    )
