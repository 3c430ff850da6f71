"""An event loop without a clock or a socket: when nothing is left to do, time goes on.

Everything that runs on it runs in the order in which it was made ready, so one seed gives one
life. Programs that read the clock, or that hand work to a thread, find virtual time and no
thread while `virtual` lasts.
"""

from __future__ import annotations

import asyncio
import itertools
import selectors
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar
from unittest import mock

from anyio import to_thread
from anyio.lowlevel import checkpoint

T = TypeVar("T")

EPOCH: Final = 1_700_000_000.0
"""Where virtual time begins, in seconds since the epoch."""


class _Nobody(selectors.BaseSelector):
    """No file is ever ready. Who waits for one lets time pass instead."""

    def __init__(self) -> None:
        self.now = EPOCH
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        # Only the loop itself registers: the end of a pipe by which threads would wake it.
        key = selectors.SelectorKey(fileobj, fileobj, events, data)
        self._keys[fileobj] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("Everybody waits for somebody else: nothing will ever happen.")
        self.now += max(0.0, timeout)
        return []

    def get_map(self) -> dict[Any, selectors.SelectorKey]:
        return self._keys


class _Numbered(asyncio.Task[Any]):
    """A task that sets hold in the order of its birth, and not of its address."""

    _numbers = itertools.count(1)

    def __new__(cls, *args: Any, **kwargs: Any) -> _Numbered:
        task = super().__new__(cls)
        task._number = next(cls._numbers)
        return task

    _number: int

    def __hash__(self) -> int:
        return self._number


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is its own."""

    def __init__(self) -> None:
        self._nobody = _Nobody()
        super().__init__(self._nobody)
        # What is due this soon is due: a float of today's seconds has no nanoseconds.
        self._clock_resolution = 1e-6
        _Numbered._numbers = itertools.count(1)
        self.set_task_factory(_numbered)

    def time(self) -> float:
        """Virtual seconds since the epoch."""
        return self._nobody.now


def _numbered(loop: asyncio.AbstractEventLoop, coro: Any, **kwargs: Any) -> Any:
    return _Numbered(coro, loop=loop, **kwargs)


async def inline(func: Callable[..., T], *args: Any, **_: Any) -> T:
    """What a thread would do, at once."""
    await checkpoint()
    return func(*args)


@contextmanager
def virtual(loop: VirtualLoop) -> Iterator[None]:
    """Everybody's clocks are the loop's, and nobody uses threads."""
    with (
        mock.patch.object(time, "time", loop.time),
        mock.patch.object(time, "monotonic", loop.time),
        mock.patch.object(to_thread, "run_sync", inline),
    ):
        yield


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `main` to its end in virtual time."""
    loop = VirtualLoop()
    try:
        with virtual(loop):
            return loop.run_until_complete(main())
    finally:
        loop.close()
