"""Logging in once, for a program that only wants the token."""

from __future__ import annotations

from tallystick.poco.values import Address
from tallystick.wire.scheduler import SchedulerClient, Sign


async def token(url: str, *, wallet: Address, sign: Sign) -> str:
    """A bearer token of the scheduler at `url` for `wallet`, which signs its challenge.

    Raises Unavailable, and Unwelcome when the scheduler does not take the wallet.
    """
    async with SchedulerClient(url, wallet=wallet, sign=sign) as client:
        await client.login()
        return client.token
