"""What workers have on the chain, as it was read last: score, stake and gas."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import anyio

from tallystick.chain.abi import BadAnswer
from tallystick.chain.answers import RpcError
from tallystick.chain.standing import answered, counted
from tallystick.engine.errors import Unavailable
from tallystick.poco.values import Address, Nrlc, Wei

if TYPE_CHECKING:
    from tallystick.chain.hub import Hub

_GOOD_FOR: Final = 10.0
"""Seconds for which what was read is not read again."""
_PATIENCE: Final = 1.5
"""Seconds that a page waits for the chain; then it shows what is known."""
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
    _reading: anyio.Lock = field(default_factory=anyio.Lock)

    def known(self, worker: Address) -> Standing | None:
        """What was read last, however long ago; None when it never was."""
        return self._of.get(worker)

    async def look(self, workers: Iterable[Address]) -> None:
        """Read again what is old. A chain that does not answer soon changes nothing."""
        with anyio.move_on_after(_PATIENCE), suppress(Unavailable, BadAnswer, RpcError):
            async with self._reading:
                due = [worker for worker in workers if self._is_old(worker)]
                for start in range(0, len(due), _AT_ONCE):
                    await self._read(due[start : start + _AT_ONCE])

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
