"""The running local market, as the commands of a requester see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

import anyio
import typer
from platformdirs import user_data_dir

from tallystick.chain.wallet import Wallet
from tallystick.cli.failure import Mistake
from tallystick.cli.passwords import ask_password, from_file
from tallystick.devnet.market import Market
from tallystick.poco.values import Address
from tallystick.requester.keyring import NoWallet, default_folder, find
from tallystick.requester.session import Session, open_session

T = TypeVar("T")

Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="FOLDER",
        help="The folder of the local market.",
        envvar="TALLYSTICK_DATA",
        show_default="of this user",
    ),
]
WalletOption = Annotated[
    str | None,
    typer.Option(
        "--wallet",
        metavar="WALLET",
        help="Who acts: a role of the local market, an address, or a keystore file.",
        show_default="requester",
    ),
]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file", metavar="FILE", help="A file whose first line opens the wallet."
    ),
]


def data_folder(data: Path | None) -> Path:
    """The folder of the local market; the same one for every command of this user."""
    return data or Path(user_data_dir("tallystick")) / "local"


def running_market(data: Path | None) -> Market:
    """The market that `tally up` runs. Raises NotRunning."""
    return Market.load(data_folder(data))


def names(market: Market) -> dict[str, str]:
    """What to call the accounts of the market, by address."""
    return {str(address): role for role, address in market.accounts.items()}


def apps(market: Market) -> dict[str, Address]:
    """The example apps of the market, by name."""
    return {name: app.address for name, app in market.apps.items()}


def account(market: Market, who: str) -> Address:
    """The account of a role of the market, or at an address."""
    if who in market.accounts:
        return market.accounts[who]
    try:
        return Address(who)
    except ValueError as error:
        raise Mistake(
            f"{who!r} is neither an address (0x and 40 hex digits) nor an account of this "
            f"market, which are {', '.join(market.accounts)}."
        ) from error


def unlocked(market: Market, wallet: str | None, password_file: Path | None) -> Wallet:
    """The wallet that acts. The roles of the market have their password beside them."""
    role = wallet or "requester"
    role = names(market).get(role.lower(), role)
    if role in market.keystores:
        file = password_file or market.password_file
        return Wallet.load(market.keystores[role], from_file(file))
    try:
        kept = find(default_folder(), role)
    except NoWallet as missing:
        roles = ", ".join(market.keystores)
        raise NoWallet(f"{missing} The wallets of this market are {roles}.") from missing
    return Wallet.load(kept.path, ask_password(password_file, str(kept.path)))


def with_market(data: Path | None, act: Callable[[Market, Session], Awaitable[T]]) -> T:
    """Do `act` at the running local market, and return what it does."""
    return anyio.run(partial(_acted, running_market(data), act))


async def _acted(market: Market, act: Callable[[Market, Session], Awaitable[T]]) -> T:
    async with open_session(market.place) as session:
        return await act(market, session)
