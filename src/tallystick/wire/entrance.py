"""Logging in once, for a program that only wants the token, or a link for a browser."""

from __future__ import annotations

from typing import Final

import httpx2

from tallystick.engine.errors import Unavailable
from tallystick.poco.values import Address
from tallystick.wire.scheduler import SchedulerClient, Sign, Unwelcome

LINKS: Final = "/dashboard/links"
"""Where a pool's owner asks for a one-time link."""
LOGIN: Final = "/dashboard/login"
"""Where such a link leads."""
_PATIENCE: Final = 30.0
_LONGEST: Final = 2_000


async def token(url: str, *, wallet: Address, sign: Sign) -> str:
    """A bearer token of the scheduler at `url` for `wallet`, which signs its challenge.

    Raises Unavailable, and Unwelcome when the scheduler does not take the wallet.
    """
    async with SchedulerClient(url, wallet=wallet, sign=sign) as client:
        await client.login()
        return client.token


async def link(url: str, token: str) -> tuple[str, int]:
    """A link that opens one session of a browser at the pool's pages, for the owner whose
    `token` this is, and the seconds for which it is good. Raises Unavailable, Unwelcome."""
    base = url.rstrip("/")
    try:
        async with httpx2.AsyncClient(timeout=_PATIENCE) as http:
            answer = await http.post(
                f"{base}{LINKS}", headers={"authorization": f"Bearer {token}"}
            )
        told = answer.json()
    except (httpx2.HTTPError, ValueError) as trouble:
        raise Unavailable(f"The scheduler at {base} gives no link: {trouble!r}") from trouble
    if answer.status_code != 201:
        raise Unwelcome(f"The scheduler gives no link: {str(told.get('message', ''))[:500]}")
    path, life = str(told["path"])[:_LONGEST], int(told["goodFor"])
    if not path.startswith(f"{LOGIN}?code="):
        raise Unwelcome(f"What answers at {base} is no scheduler of ours.")
    return f"{base}{path}", life
