"""The journal of one process of several: what it learns by writing, the others are told.

Needs the extra `tallystick[postgres]`: load it through `engine.databases` only.
"""

from __future__ import annotations

from typing import get_args

from tallystick.engine.fence import Fenced, shard_of
from tallystick.engine.journal import ChainRef
from tallystick.engine.postgres import PostgresJournal
from tallystick.lifecycle.facts import Fact
from tallystick.scheduler.shared.bell import REFOLD, Bell
from tallystick.scheduler.shared.leases import Leases


class ShardJournal(PostgresJournal[Fact]):
    """Writes facts of our shards only; a refusal ends our right to the shard."""

    def __init__(self, url: str, leases: Leases, bell: Bell) -> None:
        """Raises DatabaseGone."""
        super().__init__(url, get_args(Fact), leases)
        self._leases, self._bell, self._highest = leases, bell, 0

    def append(
        self, stream: str, fact: Fact, *, at: float, ref: ChainRef | None = None
    ) -> int | None:
        """As PostgresJournal does it."""
        try:
            seq = super().append(stream, fact, at=at, ref=ref)
        except Fenced:
            self._leases.lose(shard_of(stream))
            raise
        if seq is not None and seq <= self._highest:
            self._bell.ring(f"{REFOLD} {shard_of(stream)}")
        self._highest = max(self._highest, seq or 0)
        self._bell.ring("facts")
        return seq

    def void_above(self, block: int) -> tuple[str, ...]:
        """As PostgresJournal does it."""
        streams = super().void_above(block)
        for shard in {shard_of(stream) for stream in streams}:
            self._bell.ring(f"{REFOLD} {shard}")
        return streams
