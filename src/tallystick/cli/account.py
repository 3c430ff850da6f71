"""`tally account`: deposits on the hub."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any

import typer

from tallystick.chain.wallet import Wallet
from tallystick.cli import local, parsing
from tallystick.cli.terminal import Json, Voice
from tallystick.devnet.market import Market
from tallystick.poco.values import Nrlc
from tallystick.requester.accounts import Holdings, deposit, holdings, withdraw
from tallystick.requester.amounts import show_amount
from tallystick.requester.session import Session

group = typer.Typer(
    help="Look at deposits, add to them, take out of them.", no_args_is_help=True
)
Who = Annotated[
    str | None,
    typer.Argument(
        metavar="ACCOUNT",
        help="An address or a role of the local market.",
        show_default="the requester",
    ),
]
Move = Callable[[Session, Wallet, Nrlc], Awaitable[None]]


def attach(program: typer.Typer) -> None:
    """Add `tally account`."""
    program.add_typer(group, name="account")


@group.command()
def show(who: Who = None, *, data: local.Data = None, json: Json = False) -> None:
    """Tell what an account has: free, deposited, locked in deals."""

    async def look(market: Market, session: Session) -> Holdings:
        return await holdings(session, local.account(market, who or "requester"))

    _tell(Voice(json=json), local.with_market(data, look))


@group.command("deposit")
def deposit_rlc(
    amount: parsing.Amount,
    *,
    data: local.Data = None,
    wallet: local.WalletOption = None,
    password_file: local.PasswordFile = None,
    json: Json = False,
) -> None:
    """Move RLC from a wallet to its account, which pays for deals."""
    unlock = partial(local.unlocked, wallet=wallet, password_file=password_file)
    act = partial(_move, deposit, unlock, parsing.amount(" ".join(amount)))
    _tell(Voice(json=json), local.with_market(data, act))


@group.command("withdraw")
def withdraw_rlc(
    amount: parsing.Amount,
    *,
    data: local.Data = None,
    wallet: local.WalletOption = None,
    password_file: local.PasswordFile = None,
    json: Json = False,
) -> None:
    """Move RLC from an account back to its wallet."""
    unlock = partial(local.unlocked, wallet=wallet, password_file=password_file)
    act = partial(_move, withdraw, unlock, parsing.amount(" ".join(amount)))
    _tell(Voice(json=json), local.with_market(data, act))


async def _move(
    move: Move,
    unlock: Callable[[Market], Wallet],
    amount: Nrlc,
    market: Market,
    session: Session,
) -> Holdings:
    wallet = unlock(market)
    await move(session, wallet, amount)
    return await holdings(session, wallet.address)


def _tell(voice: Voice, has: Holdings) -> None:
    if not voice.json:
        voice.fields(
            {
                "account": has.address.checksummed,
                "deposited, free": show_amount(has.stake),
                "deposited, locked": show_amount(has.locked),
                "in the wallet": show_amount(has.wallet),
                "for gas": f"{has.gas / 10**18:.6f} ETH",
            }
        )
    voice.answer(_as_json(has))


def _as_json(has: Holdings) -> dict[str, Any]:
    return {
        "address": str(has.address),
        "stake_nrlc": has.stake,
        "locked_nrlc": has.locked,
        "wallet_nrlc": has.wallet,
        "gas_wei": has.gas,
    }
