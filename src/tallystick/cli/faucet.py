"""`tally faucet`: test money on the local market."""

from __future__ import annotations

from typing import Annotated

import typer

from tallystick.cli import local, parsing
from tallystick.cli.terminal import Json, Voice
from tallystick.devnet.faucet import USUAL_RLC, USUAL_WEI, pour
from tallystick.requester.amounts import show_amount


def attach(program: typer.Typer) -> None:
    """Add `tally faucet`."""
    program.command("faucet")(faucet)


def faucet(
    who: Annotated[str, typer.Argument(metavar="ADDRESS", help="Or a role of the market.")],
    *,
    rlc: Annotated[
        int | None,
        typer.Option(
            "--rlc",
            parser=parsing.amount,
            metavar="AMOUNT",
            help="How much RLC, as '5 RLC'.",
            show_default=show_amount(USUAL_RLC),
        ),
    ] = None,
    data: local.Data = None,
    json: Json = False,
) -> None:
    """Give an address test money on the local market."""
    market = local.running_market(data)
    address = local.account(market, who)
    amount = USUAL_RLC if rlc is None else rlc
    pour(market, address, rlc=amount)
    voice = Voice(json=json)
    if not json:
        eth = f"{USUAL_WEI / 10**18:g} ETH"
        voice.say(f"{address.checksummed} got {eth} and {show_amount(amount)}.")
    voice.answer({"address": str(address), "wei": USUAL_WEI, "nrlc": amount})
