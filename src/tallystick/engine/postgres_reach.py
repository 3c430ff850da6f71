"""Whether a server answers. Nobody waits twice for one that hangs: a thread looks meanwhile.

Statements are done in the event loop, one after the other, since their order counts; so one
that the server does not answer holds up everything. Whoever was held up says so here. From then
on all connections of this process to that server refuse at once, until a thread of their own
has seen an answer.

Needs the extra `tallystick[postgres]`: load it through `engine.databases` only.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Generator
from time import monotonic
from typing import Any, Final, TypeVar

import psycopg

V = TypeVar("V")

PATIENCE: Final = 5.0
"""Seconds for a statement. The server gives up after 4 s by itself, if it is there at all."""
SLOW: Final = 1.0
"""Seconds: a server that is not there says so at once; one that takes longer hangs."""
_PAUSE: Final = 0.25
"""Seconds between two looks whether it answers again."""


class Impatient(psycopg.Connection[tuple[Any, ...]]):
    """A connection that is given up, and counts as lost, when the server does not answer."""

    patience: float = PATIENCE

    def wait(
        self,
        gen: Generator[Any, Any, V],
        interval: float = 0.1,
        timeout: float | None = None,
    ) -> V:
        """As psycopg does it; raises OperationalError when nothing comes for too long."""
        return super().wait(self._within(gen, monotonic() + self.patience), interval, timeout)

    def _within(self, gen: Generator[Any, Any, V], ends: float) -> Generator[Any, Any, V]:
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                wanted = gen.send(ready)
                if not ready and monotonic() >= ends:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(
                        f"no answer within {self.patience:.0f} seconds"
                    )
        except StopIteration as end:
            found: V = end.value
            return found


class Reach:
    """One server, as all connections of this process to it know it."""

    def __init__(self) -> None:
        self.away = False
        """Whether it hangs: nobody should ask it."""

    def held_up(self, seconds: float, probe: Callable[[], None]) -> None:
        """A statement failed after so long. `probe` asks the server something, in a thread, and
        raises psycopg's errors while it does not answer."""
        if seconds < SLOW or self.away:
            return
        self.away = True
        look = threading.Thread(target=_look, args=(weakref.ref(self), probe), daemon=True)
        look.start()


_known: weakref.WeakValueDictionary[str, Reach] = weakref.WeakValueDictionary()


def reach_of(url: str) -> Reach:
    """What is known of the server of `url`."""
    found = _known.get(url)
    if found is None:
        found = _known[url] = Reach()
    return found


def _look(reach: weakref.ref[Reach], probe: Callable[[], None]) -> None:
    """Until it answers, or nobody is interested any more."""
    pause = threading.Event()
    while reach() is not None:
        try:
            probe()
        except psycopg.Error:
            pause.wait(_PAUSE)
            continue
        if (found := reach()) is not None:
            found.away = False
        return
