"""What workers have on the chain, as it was read last: score, stake and gas.

It is read beside the pages, which show what is known: no page waits for a slow node.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import anyio

from tallystick.chain.abi import BadAnswer
from tallystick.chain.answers import RpcError
from tallystick.chain.standing import answered, counted
from tallystick.engine.errors import Unavailable
from tallystick.engine.pulse import Pulse
from tallystick.poco.values import Address, Nrlc, Wei

if TYPE_CHECKING:
    from tallystick.chain.hub import Hub

log = logging.getLogger(__name__)

_GOOD_FOR: Final = 10.0
"""Seconds for which what was read is not read again."""
_PATIENCE: Final = 0.25
"""Seconds that a page waits for what was never read; then it shows a dash."""
_REST: Final = 0.2
"""Seconds between two batches; after a node's failure ten times as many."""
_AT_ONCE: Final = 100
"""Workers that are asked about in one batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One worker's."""

    score: int
    free: Nrlc
    """Deposit that it can stake."""
    locked: Nrlc
    """Deposit that its votes hold."""
    balance: Wei
    """For gas."""
    at: float
    """Seconds since the epoch."""


@dataclass(slots=True)
class Standings:
    """Of the workers that somebody looks at."""

    hub: Hub
    clock: Callable[[], float] = time.time
    _of: dict[Address, Standing] = field(default_factory=dict[Address, Standing])
    _wanted: dict[Address, None] = field(default_factory=dict[Address, None])
    _asked: Pulse = field(default_factory=Pulse)
    _told: Pulse = field(default_factory=Pulse)

    def known(self, worker: Address) -> Standing | None:
        """What was read last, however long ago; None when it never was."""
        return self._of.get(worker)

    async def look(self, workers: Iterable[Address]) -> None:
        """Have what is old read again, soon; wait a moment if something was never read."""
        due = [worker for worker in workers if self._is_old(worker)]
        if not due:
            return
        self._wanted.update(dict.fromkeys(due))
        seen = self._told.count
        self._asked.beat()
        if not all(worker in self._of for worker in due):
            await self._told.next(seen, _PATIENCE)

    async def run(self) -> None:
        """Read what pages want to know, until cancelled."""
        while True:
            seen, rest = self._asked.count, _REST
            while due := list(self._wanted)[:_AT_ONCE]:
                for worker in due:
                    del self._wanted[worker]
                try:
                    await self._read(due)
                except (Unavailable, BadAnswer, RpcError) as trouble:
                    log.debug("What workers have is not known: %s", trouble)
                    rest = 10 * _REST
            self._told.beat()
            await anyio.sleep(rest)
            await self._asked.next(seen)

    def _is_old(self, worker: Address) -> bool:
        known = self._of.get(worker)
        return known is None or known.at < self.clock() - _GOOD_FOR

    async def _read(self, workers: list[Address]) -> None:
        ask, now = self.hub.queries, self.clock()
        answers = await self.hub.rpc.batch(
            [
                request
                for worker in workers
                for request in (
                    ask.score(worker).request,
                    ask.account(worker).request,
                    ("eth_getBalance", (str(worker), "latest")),
                )
            ]
        )
        parts = zip(answers[::3], answers[1::3], answers[2::3], strict=True)
        for worker, (score, account, balance) in zip(workers, parts, strict=True):
            deposit = answered(ask.account(worker), account)
            self._of[worker] = Standing(
                score=answered(ask.score(worker), score),
                free=deposit.stake,
                locked=deposit.locked,
                balance=counted(balance),
                at=now,
            )
