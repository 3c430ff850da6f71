"""Requests that are held open: nothing is decided for somebody who has hung up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
from fastapi import Request

from tallystick.engine.errors import Unavailable

T = TypeVar("T")


async def unless_hung_up(request: Request, work: Callable[[], Awaitable[T]]) -> T | None:
    """What `work` comes to; None when whoever asked did not wait for it."""
    found, trouble = list[T](), None
    async with anyio.create_task_group() as both:
        both.start_soon(_cancel_when_gone, request, both.cancel_scope)
        try:
            found.append(await work())
        except Unavailable as problem:  # as it is, and not in a group
            trouble = problem
        both.cancel_scope.cancel()
    if trouble is not None:
        raise trouble
    return found[0] if found else None


async def _cancel_when_gone(request: Request, scope: anyio.CancelScope) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
