"""Whether a scheduler lives, and whether it may be given work: `/health` and `/ready`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, FastAPI, Request, Response

from tallystick.engine.errors import Unavailable
from tallystick.lifecycle.facts import Fact
from tallystick.scheduler.routing import Route, get, told
from tallystick.wire import public as bodies

if TYPE_CHECKING:
    from tallystick.chain.follow import Follower
    from tallystick.chain.heads import Heads
    from tallystick.chain.records import Head
    from tallystick.chain.sender import Sender
    from tallystick.engine.journal import Journal

_PROBE = 5.0
"""Seconds for which an attempt to write tells how the journal is."""
_ACCOUNTS = 30.0
"""Seconds for which the sum of gas is good."""
_NOTE = "written to see whether writing works"


@dataclass(slots=True, kw_only=True)
class Vitals:
    """What tells how a scheduler is."""

    journal: Journal[Fact]
    stale_after: float
    """Seconds without a new block after which the chain counts as lost."""
    head: Callable[[], Head | None] = lambda: None
    """The newest block that a node told of."""
    followed: Callable[[], int] = lambda: 0
    """The newest block whose logs are taken over."""
    reads_past: Callable[[], bool] = lambda: False
    """Whether what happened before the start is still read."""
    pending: Callable[[], tuple[float, ...]] = tuple
    """Since when each transaction waits to be mined; seconds since the epoch."""
    gas_spent: Callable[[], int | None] = lambda: None
    """Wei, of every transaction that was mined; None where that is not known."""
    recovered: bool = False
    """Whether the engine works on everything that the journal told of."""
    clock: Callable[[], float] = time.time
    began: float = 0.0
    _probed: float = -_PROBE

    def __post_init__(self) -> None:
        self.began = self.clock()

    def know(self, heads: Heads, follower: Follower, sender: Sender) -> None:
        """Look at these from now on."""
        self.head, self.followed = lambda: heads.latest, lambda: follower.head
        self.reads_past = lambda: follower.clock.waits
        self.pending = lambda: _waiting(sender)
        self.gas_spent = Spent(sender.spent).wei

    @property
    def head_age(self) -> float | None:
        """Seconds since the newest block; None before the first one."""
        head = self.head()
        return None if head is None else max(0.0, self.clock() - head.timestamp)

    def troubles(self) -> Iterator[str]:
        """Why this scheduler should be given no work, in sentences."""
        if not self._writes():
            yield "The journal cannot be written: make room on its disk, or bring it back."
        age = self.head_age
        if age is None:
            yield "No block of the chain is known yet: check rpc_urls if it stays so."
        elif age > self.stale_after:
            yield f"The newest block is {age:.0f} s old: the node, or the chain, stands still."
        if self.reads_past():
            yield f"The chain's past is still read, by now up to block {self.followed()}: wait."
        if not self.recovered:
            yield "The journal is still read: wait."

    def _writes(self) -> bool:
        """Whether the journal takes a note; a look at most every few seconds."""
        if self.journal.trouble is None and time.monotonic() < self._probed + _PROBE:
            return True
        try:
            self.journal.note(_NOTE, str(int(self.clock())))
        except Unavailable:
            return False
        self._probed = time.monotonic()
        return True


def _waiting(sender: Sender) -> tuple[float, ...]:
    """Nothing while the book cannot be read: that must not hide all other figures."""
    with suppress(Unavailable):
        return tuple(each.since for each in sender.pending)
    return ()


class Spent:
    """The gas that a book of transactions tells of, read now and then: it is a sum of many."""

    def __init__(self, told: Callable[[], int]) -> None:
        self._told, self._read = told, -_ACCOUNTS
        self._wei: int | None = None

    def wei(self) -> int | None:
        """What was known at the last look; None while the book could not be read yet."""
        if time.monotonic() < self._read + _ACCOUNTS:
            return self._wei
        with suppress(Unavailable):
            self._wei = self._told()
        self._read = time.monotonic()
        return self._wei


async def the_vitals(request: Request) -> Vitals:
    """How this scheduler is."""
    vitals: Vitals = request.app.state.vitals
    return vitals


TheVitals = Annotated[Vitals, Depends(the_vitals)]


def attach(app: FastAPI) -> None:
    """Add these routes to `app`."""
    get("/health", bodies.Health, tag="operation").add(app, _health)
    ready = Route(
        verb="GET",
        path="/ready",
        answers={200: bodies.Health, 503: bodies.Health},
        tag="operation",
    )
    ready.add(app, _ready)


async def _health() -> Response:
    """Whether the process lives and answers. It says nothing of chain or disk."""
    return told({"status": "UP", "reasons": []})


async def _ready(vitals: TheVitals) -> Response:
    """Whether the scheduler may be given work: its journal can be written, the chain moves, and
    everything from before the last start is taken up. 503 with the reasons otherwise."""
    reasons = list(vitals.troubles())
    if not reasons:
        return told({"status": "UP", "reasons": []})
    answer = told({"status": "OUT_OF_SERVICE", "reasons": reasons})
    answer.status_code = 503
    return answer
