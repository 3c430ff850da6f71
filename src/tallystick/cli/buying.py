"""Buying for somebody at the command line: names become orders, every deal is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tallystick.chain.wallet import Wallet
from tallystick.poco.params import DealParams, encode_params
from tallystick.poco.values import Address
from tallystick.requester.amounts import show_amount
from tallystick.requester.arguments import join_arguments
from tallystick.requester.assets import app_order, dataset_order
from tallystick.requester.buy import Purchase, buy
from tallystick.requester.orders import Wish
from tallystick.requester.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What is to be bought."""

    image: str
    """What a person calls the app."""
    wish: Wish
    dataset: str | None = None
    say: Callable[[str], None]


def app_params(args: Sequence[str], inputs: Sequence[str] = ()) -> str:
    """The `params` of a deal whose app gets these words and finds these URLs in /iexec_in."""
    return encode_params(
        DealParams(
            args=join_arguments(args), input_files=tuple(inputs), storage_provider="ipfs"
        )
    )


async def purchase(
    errand: Errand, wallet: Wallet, session: Session, *, apps: Mapping[str, Address]
) -> list[Purchase]:
    """Buy what the errand is about; `apps` are those that have a name here.

    Raises CannotBuy, Refused, Unavailable.
    """
    app = await app_order(session, wallet, errand.image, apps)
    dataset = await dataset_order(session, wallet, errand.dataset)
    bought = []
    async for each in buy(session, wallet, errand.wish, app=app, dataset=dataset):
        deal = each.deal
        errand.say(
            f"Bought {deal.bot_size} task(s) at {show_amount(deal.task_price)} each: "
            f"deal {deal.id}, matched in block {each.block}."
        )
        bought.append(each)
    return bought
