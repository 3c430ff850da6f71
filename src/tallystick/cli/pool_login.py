"""`tally pool login`: a token for scripts that act as the pool's owner."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import anyio
import typer

from tallystick.cli.pool_place import Config, place
from tallystick.cli.terminal import Json, Voice
from tallystick.wire.auth import TOKEN_LIFE
from tallystick.wire.entrance import token


def attach(group: typer.Typer) -> None:
    group.command("login")(login)


def login(
    *,
    url: Annotated[
        str, typer.Option("--url", help="Where the pool is, when not where the settings say.")
    ] = "",
    config: Config = None,
    json: Json = False,
) -> None:
    """Sign the pool's challenge with its owner's wallet, and print the token that comes back.

    It goes into a header: Authorization: Bearer TOKEN. Whoever has it is the owner for a day.
    """
    where, voice = place(config), Voice(json=json)
    owner, address = where.wallet(), url or where.config.url
    found = anyio.run(partial(token, address, wallet=owner.address, sign=owner.sign_hash))
    if not json:
        voice.say(found)
    voice.answer({"token": found, "wallet": str(owner.address), "good_for": TOKEN_LIFE})
