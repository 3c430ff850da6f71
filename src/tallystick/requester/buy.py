"""Buying tasks: the request is signed, the money is checked, the orders are matched."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from tallystick.chain.wallet import Wallet
from tallystick.engine.errors import Refused, Unavailable
from tallystick.poco.deal import Deal, deal_id
from tallystick.poco.orders import (
    NO_DATASET_ORDER,
    AppOrder,
    DatasetOrder,
    order_hash,
)
from tallystick.poco.values import TaskId
from tallystick.requester.amounts import show_amount
from tallystick.requester.book import Offer
from tallystick.requester.offers import Terms, settle
from tallystick.requester.orders import Wish, new_salt, signed
from tallystick.requester.refusals import CannotBuy
from tallystick.requester.session import Session
from tallystick.requester.transact import transact

POOL_STAKE = 30
"""Percent of its price that a scheduler locks for each task."""

_CODE = re.compile(r"iExecV5-matchOrders-(0x[0-9a-f]{2})")
_UNSIGNED = {
    f"0x{first + place}": sentence
    for first, what in ((20, "app"), (30, "dataset"), (40, "workerpool"))
    for place, sentence in enumerate(
        (
            f"the {what} of the order is not registered as one",
            f"the order of the {what} is not signed by its owner, or was changed since",
        )
    )
}
"""What the contract's codes mean that only it can judge."""


@dataclass(frozen=True, slots=True)
class Purchase:
    """A deal that was bought."""

    deal: Deal
    block: int
    """Where the orders were matched."""

    @property
    def tasks(self) -> tuple[TaskId, ...]:
        """The tasks of the deals, in their order."""
        return tuple(map(self.deal.task_id, self.deal.indices))


async def buy(
    session: Session, wallet: Wallet, wish: Wish, *, app: AppOrder, dataset: DatasetOrder
) -> AsyncIterator[Purchase]:
    """Buy `wish.count` tasks: one deal, or several when one offer does not serve them all.

    Raises CannotBuy before anything is paid for, Unavailable, and Refused with the contract's
    reason when somebody was faster.
    """
    left = wish.count
    while left:
        part = replace(wish, count=left)
        terms = await settle(
            part,
            app=app,
            dataset=dataset,
            pools=session.book.workerpools,
            requester=wallet.address,
            remaining=session.remaining,
        )
        purchase = await _match(session, wallet, part, terms)
        left -= purchase.deal.bot_size
        yield purchase


async def _match(session: Session, wallet: Wallet, wish: Wish, terms: Terms) -> Purchase:
    size = min(wish.count, await _served(session, terms))
    await _afford(session, wallet, terms, size)
    draft = terms.request(replace(wish, count=size), requester=wallet.address, salt=new_salt())
    request = signed(draft, session.hub.domain, wallet)
    call = session.hub.calls.match_orders(terms.app, terms.dataset, terms.workerpool, request)
    try:
        receipt = await transact(session, wallet, call)
    except Refused as refusal:
        raise _explained(refusal) from refusal
    bought = deal_id(order_hash(request, session.hub.domain), 0)
    deal = await session.hub.deal(bought)
    if deal is None:
        raise Unavailable(f"The deal {bought} was matched, but the node does not show it.")
    return Purchase(deal, receipt.block)


def _explained(refusal: Refused) -> Refused:
    """The refusal with what its code means, where that is nothing that we foresee."""
    code = _CODE.search(str(refusal))
    why = _UNSIGNED.get(code[1]) if code else None
    return CannotBuy(f"{refusal} That means: {why}.") if why else refusal


async def _served(session: Session, terms: Terms) -> int:
    """How many tasks the three offers still serve together."""
    offers: list[Offer] = [terms.app, terms.workerpool]
    if terms.dataset != NO_DATASET_ORDER:
        offers.append(terms.dataset)
    return min([await session.remaining(offer) for offer in offers])


async def _afford(session: Session, wallet: Wallet, terms: Terms, size: int) -> None:
    """Foresee what the contract would only call a balance that is exceeded."""
    hub, cost = session.hub, terms.price * size
    account = await hub.account(wallet.address)
    if account.stake < cost:
        missing = show_amount(cost - account.stake)
        raise CannotBuy(
            f"This costs {show_amount(cost)}, and the wallet {wallet.address} has "
            f"{show_amount(account.stake)} deposited. Add {missing} with: "
            f"tally account deposit {missing}"
        )
    pool = await hub.workerpool(terms.workerpool.workerpool)
    stake = terms.workerpool.price * POOL_STAKE // 100 * size
    if (await hub.account(pool.owner)).stake < stake:
        raise CannotBuy(
            f"The scheduler {pool.owner} cannot lock the {show_amount(stake)} of its own that "
            "this deal needs; only its operator can deposit more."
        )
