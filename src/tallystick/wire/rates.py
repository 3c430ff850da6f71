"""How often somebody may ask: so many requests a second, and so many at once."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from tallystick.wire.refusals import refusal

_MOST: Final = 50_000
"""Callers that are remembered at once; beyond, who came first is forgotten: at worst one gets
a full allowance again."""

_REMEMBERED: Final = 10_000
"""Addresses whose network need not be found again."""


class TooOften(Exception):
    """Somebody asks more often than is allowed."""

    def __init__(self, who: str, wait: float) -> None:
        super().__init__(
            f"{who} asks too often: wait {math.ceil(wait)} s, and ask less often then."
        )
        self.wait = math.ceil(wait)
        """Seconds after which one request is answered again."""


class Allowance:
    """`rate` requests a second and `burst` at once, for each caller by itself; a rate of 0 is
    no limit. One number is kept a caller: when its requests would be paid for (GCRA)."""

    def __init__(
        self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._burst, self._clock = rate, max(1, burst), clock
        self._paid: dict[Hashable, float] = {}

    def take(self, who: Hashable) -> float:
        """0 when `who` may ask now, and then it counts; else the seconds until it may."""
        if not self._rate:
            return 0.0
        now, each = self._clock(), 1 / self._rate
        paid = max(self._paid.pop(who, now), now)
        ahead = paid + each - now - self._burst * each
        if ahead > 1e-9:
            self._paid[who] = paid
            return ahead
        if len(self._paid) >= _MOST:
            del self._paid[next(iter(self._paid))]
        self._paid[who] = paid + each
        return 0.0


class RateLimited:
    """Answers 429 to an address that asks too often. The loopback is not limited: what comes
    from there is this machine, or a proxy that was not named."""

    def __init__(self, app: ASGIApp, allowance: Allowance) -> None:
        self._app, self._allowance = app, allowance

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        who = _neighbourhood(scope) if scope["type"] == "http" else None
        if who is None or not (wait := self._allowance.take(who)):
            await self._app(scope, receive, send)
            return
        too_often = TooOften(f"The address {who}", wait)
        headers = {"retry-after": str(too_often.wait)}
        answer = refusal(429, str(too_often), scope["path"], headers=headers)
        await answer(scope, receive, send)


def _neighbourhood(scope: Scope) -> str | None:
    client = scope.get("client")
    return _neighbours(client[0]) if client else None


@lru_cache(_REMEMBERED)
def _neighbours(host: str) -> str | None:
    """The address of the caller, of version 6 the network it may choose from; None on the
    loopback, or when nobody knows."""
    try:
        found = ip_address(host)
    except ValueError:
        return None
    if found.is_loopback:
        return None
    if isinstance(found, IPv6Address):
        return f"{IPv6Address(int(found) >> 64 << 64)}/64"
    return str(found)
