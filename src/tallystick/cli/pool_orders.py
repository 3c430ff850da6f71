"""`tally pool orders`: what a pool offers to compute."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tallystick.cli import parsing
from tallystick.cli import pool_words as words
from tallystick.cli.failure import Mistake
from tallystick.cli.pool_place import Config, place
from tallystick.cli.terminal import Json, Voice
from tallystick.poco.values import Address, Hash

orders = typer.Typer(
    help="List, publish and cancel what a running pool offers.", no_args_is_help=True
)


def attach(group: typer.Typer) -> None:
    """Add `tally pool orders`."""
    group.add_typer(orders, name="orders")


def _hash(text: str) -> Hash:
    try:
        return Hash(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no order: that is 0x and 64 digits.") from error


def _restriction(name: str, whom: str) -> object:
    return typer.Option(
        name, parser=parsing.address, metavar="ADDRESS", help=whom, show_default="any"
    )


@orders.command("list")
def list_orders(
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that are not on offer any more.")
    ] = False,
    config: Config = None,
    json: Json = False,
) -> None:
    """List a pool's orders, with what is left of each."""
    _tell(place(config).ask("offers", all=everything), json)


@orders.command()
def publish(
    *,
    category: Annotated[int | None, typer.Option("--category", min=0)] = None,
    price: Annotated[
        str, typer.Option("--price", help="Of one task, with its unit: 1.5 RLC or 300 nRLC.")
    ] = "",
    volume: Annotated[int, typer.Option("--volume", min=1, help="Tasks.")] = 1_000,
    trust: Annotated[int, typer.Option("--trust", min=1, help="At most.")] = 1,
    tag: Annotated[str, typer.Option("--tag", help="tee,scone,gramine,tdx,gpu")] = "",
    app: Annotated[Address | None, _restriction("--app", "Only this app.")] = None,
    dataset: Annotated[
        Address | None, _restriction("--dataset", "Only with this dataset.")
    ] = None,
    requester: Annotated[
        Address | None, _restriction("--requester", "Only for this requester.")
    ] = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Offer an order beside those of the settings, and renew it from now on; without a category
    and a price, offer again whatever was cancelled."""
    only = {"app": app, "dataset": dataset, "requester": requester}
    restricted = {name: str(each) for name, each in only.items() if each is not None}
    terms = None
    if category is not None and price:
        terms = {
            "category": category,
            "price": parsing.amount(price),
            "volume": volume,
            "trust": trust,
            "tag": [name.strip() for name in tag.split(",") if name.strip()],
            **restricted,
        }
    elif category is not None or price or tag or restricted:
        raise Mistake("An order needs both a category and a price: --category and --price.")
    _tell(place(config).ask("publish", terms=terms), json)


@orders.command()
def cancel(
    order: Annotated[
        Hash, typer.Argument(parser=_hash, metavar="ORDER", help="0x…, 64 digits.")
    ],
    *,
    unpublish: Annotated[
        bool,
        typer.Option(
            "--unpublish",
            help="Only offer it no more. Costs no gas; whoever has a copy can still use it.",
        ),
    ] = False,
    config: Config = None,
    json: Json = False,
) -> None:
    """Close an order on the chain: nobody can use it any more, and none like it is signed."""
    voice = Voice(json=json)
    told = place(config).ask("cancel", hash=str(order), close=not unpublish)
    if not json:
        how = "is not on offer any more" if unpublish else "is closed on the chain"
        voice.say(f"The order {order} {how}.")
    voice.answer(told)


def _tell(told: dict[str, Any], json: bool) -> None:
    voice = Voice(json=json)
    if not json:
        if told["orders"]:
            voice.table(words.ORDER_HEADS, map(words.order_row, told["orders"]))
        elif told["state"] != "working":
            voice.say("The pool is about to end, so nothing is on offer.")
        else:
            voice.say("Nothing is on offer: set orders in the settings, or publish one.")
        for sentence in words.refusals(told["refused"]):
            voice.say(f"! {sentence}")
    voice.answer(told)
