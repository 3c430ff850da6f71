"""Requests that are held open: nothing is decided for somebody who has hung up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import random
from typing import TypeVar

import anyio
from fastapi import Request

from tallystick.engine.bells import HangUp
from tallystick.engine.errors import Unavailable

T = TypeVar("T")

_SPREAD = 0.2
"""The part of a long wait that chance decides: who came at once does not come again at once."""
_LONG = 5.0
"""Seconds. Shorter waits are kept as they were asked for."""


class HungUp(Exception):
    """Whoever asked did not wait for the answer."""


def hang_up_of(request: Request) -> HangUp:
    """Tells when whoever sent `request`, whose body was read, has gone."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return gone


def spread(wait: float) -> float:
    """Seconds, at most `wait`, for which a request is held open."""
    return wait if wait < _LONG else wait * (1 - _SPREAD * random())


async def unless_hung_up(hung_up: HangUp, work: Callable[[], Awaitable[T]]) -> T:
    """What `work` comes to. Raises HungUp when whoever asked did not wait for it."""
    if hung_up is anyio.sleep_forever:
        return await work()
    found, trouble = list[T](), None
    async with anyio.create_task_group() as both:
        both.start_soon(_cancel_when_gone, hung_up, both.cancel_scope)
        try:
            found.append(await work())
        except Unavailable as problem:  # as it is, and not in a group
            trouble = problem
        both.cancel_scope.cancel()
    if trouble is not None:
        raise trouble
    if not found:
        raise HungUp
    return found[0]


async def _cancel_when_gone(hung_up: HangUp, scope: anyio.CancelScope) -> None:
    await hung_up()
    scope.cancel()
