"""When a service looks for garbage: young objects often, all of them rarely.

Python stops for as long as it takes to look at every object, and with ten thousand requests
held open that is half a second, as often as a quarter more objects have come. What refers to
itself in a circle, and only that, waits for it; so once in a while is enough.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Final, ParamSpec

import anyio

P = ParamSpec("P")

FIRST: Final = 10.0
"""Seconds after the start, when what a service keeps for good is there."""
EVERY: Final = 300.0
"""Seconds between two looks at everything."""
_YOUNG: Final = (10_000, 10, 1_000_000)
"""Objects made until the newest are looked at, and how many such looks until those that
survived one are; the last number stands for never."""


async def tidy(first: float = FIRST, every: float = EVERY) -> None:
    """Look for garbage in this way until cancelled."""
    before = gc.get_threshold()
    gc.set_threshold(*_YOUNG)
    try:
        await anyio.sleep(first)
        gc.freeze()  # what lives by now is never looked at
        while True:
            await anyio.sleep(every)
            gc.collect()
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


def tidied(work: Callable[P, Awaitable[None]]) -> Callable[P, Awaitable[None]]:
    """`work`, with garbage looked for in this way meanwhile. What it raises is raised as it is,
    and not in a group."""

    @wraps(work)
    async def whole(*args: P.args, **kwargs: P.kwargs) -> None:
        tidying = asyncio.get_running_loop().create_task(tidy())
        try:
            await work(*args, **kwargs)
        finally:
            tidying.cancel()

    return whole
