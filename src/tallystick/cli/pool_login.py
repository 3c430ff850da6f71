"""`tally pool login`: the pool's owner at its pages, or in scripts."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import anyio
import typer

from tallystick.chain.wallet import Wallet
from tallystick.cli.pool_place import Config, place
from tallystick.cli.terminal import Json, Voice
from tallystick.wire import entrance
from tallystick.wire.auth import TOKEN_LIFE


def attach(group: typer.Typer) -> None:
    """Add `tally pool login`."""
    group.command("login")(login)


def login(
    *,
    url: Annotated[
        str, typer.Option("--url", help="Where the pool is, when not where the settings say.")
    ] = "",
    script: Annotated[
        bool, typer.Option("--token", help="Print a token for scripts instead of a link.")
    ] = False,
    config: Config = None,
    json: Json = False,
) -> None:
    """Sign the pool's challenge with its owner's wallet, and print a link for the browser.

    The link signs one browser in as the pool's operator; it is good for minutes, and once.
    With --token: a token for the header Authorization: Bearer TOKEN. Whoever has it is the
    owner for a day.
    """
    where, voice = place(config), Voice(json=json)
    owner, address = where.wallet(), url or where.config.url
    token, link, life = anyio.run(partial(_both, address, owner, link=json or not script))
    if script and not json:
        voice.say(token)
    elif not json:
        voice.say(link)
        voice.say(f"Open it in a browser within {life // 60} minutes; it signs in once.")
    voice.answer(
        {
            "token": token,
            "wallet": str(owner.address),
            "good_for": TOKEN_LIFE,
            "link": link,
            "link_good_for": life,
        }
    )


async def _both(url: str, owner: Wallet, *, link: bool) -> tuple[str, str, int]:
    token = await entrance.token(url, wallet=owner.address, sign=owner.sign_hash)
    return (token, *(await entrance.link(url, token) if link else ("", 0)))
