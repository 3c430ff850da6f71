"""An event loop without a clock or a socket: when nothing is left to do, time goes on.

Everything that runs on it runs in the order in which it was made ready, so one seed gives one
life. Programs that read the clock, or that hand work to a thread, find virtual time and no
thread while `virtual` lasts.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import heapq
import itertools
import selectors
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar, TypeVarTuple, Unpack
from unittest import mock

import anyio
from anyio import to_thread
from anyio.lowlevel import checkpoint

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_SOON: Final = 1e-6
"""What is due this soon is due: a float of today's seconds has no nanoseconds."""
_RUBBISH: Final = 50_000
"""Objects that are made before rubbish is looked for."""
EPOCH: Final = 1_700_000_000.0
"""Where virtual time begins, in seconds since the epoch."""


class _Nobody(selectors.BaseSelector):
    """Files of which none is ever ready."""

    def __init__(self) -> None:
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        # Only the loop itself registers: the end of a pipe by which threads would wake it.
        key = selectors.SelectorKey(fileobj, fileobj, events, data)
        self._keys[fileobj] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
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


class _Handle(asyncio.Handle):
    """A call that is made without a question: most of them only wake a task."""

    __slots__ = ()
    _context: contextvars.Context
    _callback: Any
    _args: Any
    _cancelled: bool

    def __init__(self, callback: Any, args: Any, loop: VirtualLoop, context: Any) -> None:
        self._context = contextvars.copy_context() if context is None else context
        self._loop, self._callback, self._args = loop, callback, args
        self._cancelled, self._repr = False, None


class _TimerHandle(asyncio.TimerHandle):
    """The same for later."""

    __slots__ = ()
    _context: contextvars.Context
    _callback: Any
    _args: Any
    _cancelled: bool

    def __init__(
        self, when: float, callback: Any, args: Any, loop: VirtualLoop, context: Any
    ) -> None:
        self._context = contextvars.copy_context() if context is None else context
        self._loop, self._callback, self._args = loop, callback, args
        self._cancelled, self._repr = False, None
        self._when, self._scheduled = when, False

    def cancel(self) -> None:
        """Whoever finds it leaves it out."""
        self._cancelled = True
        self._callback = self._args = None


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is its own: when nobody has anything to do, it is the next
    instant at which somebody has.

    Half of a world's time once went into the loop. So it keeps the one it inherits from only
    for what it does seldom, and has its own short ways of calling somebody soon or later. Who
    is due at the same instant is called in the order of asking.
    """

    _ready: deque[_Handle | _TimerHandle]

    def __init__(self) -> None:
        super().__init__(_Nobody())
        self._now = EPOCH
        self._later: list[tuple[float, int, _TimerHandle]] = []
        self._asked = itertools.count()
        _Numbered._numbers = itertools.count(1)
        self.set_task_factory(_numbered)

    def time(self) -> float:
        """Virtual seconds since the epoch."""
        return self._now

    def call_soon(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Any = None
    ) -> asyncio.Handle:
        """Call it after those who wait already."""
        handle = _Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Any = None,
    ) -> asyncio.TimerHandle:
        """Call it when it is `when`."""
        handle = _TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._later, (when, next(self._asked), handle))
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Any = None,
    ) -> asyncio.TimerHandle:
        """Call it in `delay` seconds."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def _run_once(self) -> None:
        """One round: time passes when nobody is ready, and all who are ready are called."""
        ready, later = self._ready, self._later
        while later and later[0][2]._cancelled:
            heapq.heappop(later)
        if not ready:
            if not later:
                raise RuntimeError(
                    "Everybody waits for somebody else: nothing will ever happen."
                )
            self._now = max(self._now, later[0][0])
        while later and later[0][0] < self._now + _SOON:
            ready.append(heapq.heappop(later)[2])
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                # What a call raises ends the world: tasks keep to themselves what they raise.
                handle._context.run(handle._callback, *handle._args)


def _numbered(loop: asyncio.AbstractEventLoop, coro: Any, **kwargs: Any) -> Any:
    return _Numbered(coro, loop=loop, **kwargs)


async def inline(func: Callable[..., T], *args: Any, **_: Any) -> T:
    """What a thread would do, at once."""
    await checkpoint()
    return func(*args)


@contextmanager
def _littered() -> Iterator[None]:
    """Rubbish is looked for seldom: a tenth of a world's time went into looking."""
    before = gc.get_threshold()
    gc.set_threshold(_RUBBISH, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


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
    with virtual(loop), _littered():
        return anyio.run(main, backend_options={"loop_factory": lambda: loop})
