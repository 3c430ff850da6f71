"""One process of a simulated party: where it can be killed, and what a dead one cannot do."""

from __future__ import annotations

import errno
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

from anyio import to_thread

from tallystick.chain import shelf
from tallystick.engine import disk, journal
from tallystick.sim.whole import loop
from tallystick.worker import pledges

T = TypeVar("T")


class Killed(BaseException):
    """The process is gone. Nothing catches this but whoever started it."""


class Mistake(AssertionError):
    """A process ended though nobody killed it: what it raised is a mistake of its own."""


@dataclass(slots=True, eq=False)
class Life:
    """From a start to the next crash. Every act that somebody else could notice is a point:
    before and after each durable write, each request, each call of the runtime."""

    name: str
    kill_at: int = 0
    """Die at this point, counted from 1; 0: at none."""
    reads: bool = True
    """Whether questions are points too. They change nothing: to die after one is to die after
    the act before it, a moment later."""
    alive: bool = True
    points: int = 0
    last: str = ""
    """The point at which it is, or died."""
    full: bool = False
    """Whether the disk is full."""
    skew: float = 0.0
    """Seconds that the machine's clock is fast."""
    wrote: int = 0
    """Durable writes so far."""
    facts: int = 0
    """Facts recorded so far. Without `reads` the same act is the same point until the next."""
    on_death: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])
    _seen: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])

    def point(self, what: str) -> None:
        """Something is about to be done, or was just done. Raises Killed.

        A question that is asked again while nothing was written is the same point.
        """
        self.require_alive()
        state = self.wrote if self.reads else self.facts
        if (what, state) in self._seen or not (self.reads or _is_act(what)):
            return
        self._seen.add((what, state))
        self.points, self.last = self.points + 1, what
        if self.points == self.kill_at:
            self.die()
            raise Killed

    def require_alive(self) -> None:
        """Raises Killed when it is not."""
        if not self.alive:
            raise Killed

    def die(self) -> None:
        """From now on it does nothing that anybody could notice."""
        if self.alive:
            self.alive = False
            for each in self.on_death:
                each()


_ACTS = ("writing", "eth_send", "POST", "upload", "run", "fetching", "answering")


def _is_act(what: str) -> bool:
    return what.startswith("after") and any(act in what for act in _ACTS)


LIFE: ContextVar[Life | None] = ContextVar("life", default=None)
"""Whose code runs."""


@contextmanager
def _writing(path: Path | str) -> Iterator[None]:
    """What every durable write goes through, with a point before and after."""
    life = LIFE.get()
    if life is None:
        with disk.writing(path):
            yield
        return
    name = Path(path).name
    life.point(f"before writing {name}")
    with disk.writing(path):
        if life.full:
            trouble = sqlite3.OperationalError("database or disk is full")
            trouble.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise trouble
        yield
    life.wrote += 1
    life.point(f"after writing {name}")


async def _thread(func: Callable[..., T], *args: Any, **_: Any) -> T:
    """What a thread would do: files, mostly."""
    life = LIFE.get()
    what = getattr(func, "__name__", "work")
    if life is None:
        return await loop.inline(func, *args)
    life.point(f"before {what}")
    if life.full and what not in ("remove", "<lambda>"):
        raise OSError(errno.ENOSPC, "No space left on device")
    result = await loop.inline(func, *args)
    life.point(f"after {what}")
    return result


def _wall() -> float:
    life = LIFE.get()
    return time.monotonic() + (life.skew if life else 0.0)


@contextmanager
def edges() -> Iterator[None]:
    """Disks, threads and clocks are those of the life whose code runs."""
    with ExitStack() as stack:
        for module in (journal, shelf, pledges):
            stack.enter_context(mock.patch.object(module, "writing", _writing))
        stack.enter_context(mock.patch.object(to_thread, "run_sync", _thread))
        stack.enter_context(mock.patch.object(time, "time", _wall))
        yield
