"""What workers have, read no longer ago than one block, many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tallystick.chain.hub import Hub
from tallystick.chain.standing import answered, counted
from tallystick.engine.clock import ChainClock
from tallystick.engine.rounds import Rounds
from tallystick.poco.values import Address, Nrlc

GAS_OF_A_VOTE = 500_000
"""What contributing and revealing take; doing all of it at once takes about the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purse:
    """What decides whether a worker may be given work, and with which weight."""

    score: int
    stake: Nrlc
    """Free to be locked."""
    gas: bool
    """Whether the wallet can pay for the transactions of a vote."""


class Purses:
    """Reads a purse again when a newer block was seen than when it was read. Those who ask at
    about the same time share a round trip."""

    def __init__(self, hub: Hub, clock: ChainClock) -> None:
        self._hub, self._clock = hub, clock
        self._of: dict[Address, Purse] = {}
        self._read_at = clock.count
        self._reading = Rounds[Address, Purse](self._read)

    def known(self, worker: Address) -> Purse | None:
        """What `worker` has, if that was read since the newest block."""
        self._forget_old()
        return self._of.get(worker)

    async def of(self, worker: Address) -> Purse:
        """What `worker` has. Raises Unavailable."""
        return self.known(worker) or await self._reading.ask(worker)

    def _forget_old(self) -> None:
        if self._read_at != self._clock.count:
            self._of.clear()
            self._read_at = self._clock.count

    async def _read(self, workers: Sequence[Address]) -> list[Purse]:
        asked, ask = list(dict.fromkeys(workers)), self._hub.queries
        self._forget_old()
        since = self._read_at
        price, *answers = await self._hub.rpc.batch(
            [("eth_gasPrice", ())]
            + [
                request
                for worker in asked
                for request in (
                    ask.score(worker).request,
                    ask.account(worker).request,
                    ("eth_getBalance", (str(worker), "latest")),
                )
            ]
        )
        least = counted(price) * GAS_OF_A_VOTE
        parts = zip(answers[::3], answers[1::3], answers[2::3], strict=True)
        found = {
            worker: Purse(
                score=answered(ask.score(worker), score),
                stake=answered(ask.account(worker), account).stake,
                gas=counted(balance) >= least,
            )
            for worker, (score, account, balance) in zip(asked, parts, strict=True)
        }
        if self._clock.count == since:
            self._of.update(found)
        return [found[worker] for worker in workers]
