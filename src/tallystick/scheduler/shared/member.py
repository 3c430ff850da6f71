"""One process of several that are a pool together: what it owns, and how it comes and goes.

A shard is ours to work on when three things hold: the lease is ours, its facts are read since,
and the chain is followed for it without a gap from where its last owner stopped. Whoever finds
that one of these is over forgets the shard; it is then taken again, with another epoch.

Needs the extra `tallystick[postgres]`: load it through `engine.databases` only.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tallystick.chain.follow import CURSOR
from tallystick.chain.watcher import Position
from tallystick.engine.complaints import Complaints
from tallystick.engine.errors import Unavailable
from tallystick.engine.fence import SHARDS, Fence, shard_of
from tallystick.engine.postgres_link import Link
from tallystick.engine.pulse import Pulse
from tallystick.scheduler.shared.bell import Bell
from tallystick.scheduler.shared.cursors import earliest, parsed
from tallystick.scheduler.shared.inbox import SENDER
from tallystick.scheduler.shared.leases import BEAT, Leases, Taken
from tallystick.scheduler.shared.replica import Replica
from tallystick.scheduler.shared.shard_journal import ShardJournal

if TYPE_CHECKING:
    from tallystick.scheduler.inside import PoolEngine

log = logging.getLogger(__name__)

_SHARDS: Final = "shards"
"""The call that everybody should look who is there, and what it has to do."""


@dataclass(slots=True)
class Member:
    """This process among the others."""

    leases: Leases
    journal: ShardJournal
    bell: Bell
    link: Link
    engine: PoolEngine | None = None
    replica: Replica | None = None
    sending: Pulse = field(default_factory=Pulse)
    """Beats when the right to send has come or gone."""
    steered: Callable[[str], None] = lambda course: None
    """Called with what the operator told all processes to do, when it is something else."""
    _course: str = ""
    _before: str | None = None
    """Where one process alone had stopped, when the pool was kept in a file until now."""
    _joined: set[int] = field(default_factory=set[int])
    _coming: dict[int, Taken] = field(default_factory=dict[int, Taken])
    _complaints: Complaints = field(default_factory=lambda: Complaints(log))

    def owns(self, stream: str) -> bool:
        """Whether a task is ours to work on. Once it is not, it is not before we took its shard
        again, since what the chain tells meanwhile is passed over."""
        shard = shard_of(stream)
        if shard not in self._joined:
            return False
        if self.leases.holds(shard):
            return True
        self.leases.lose(shard)
        return False

    def holds(self, shard: int) -> bool:
        """Whether nobody else writes facts of this shard."""
        return shard in self._joined and self.leases.holds(shard)

    def rights(self) -> Iterable[Fence]:
        """To the shards for which the chain is recorded here without a gap."""
        return [right for right in self.leases.held() if right.shard in self._joined]

    def addresses(self) -> Collection[int]:
        """Whose questions this process answers."""
        mine = [right.shard for right in self.rights()]
        return [*mine, SENDER] if self.leases.sends else mine

    def attach(self, engine: PoolEngine) -> None:
        """The engine has read the journal; it works on what is ours."""
        engine.owns = self.owns
        self.engine, self._before = engine, self.journal.noted(CURSOR)
        self.replica = Replica(
            engine=engine,
            journal=self.journal,
            link=self.link,
            bell=self.bell,
            holds=self.holds,
        )

    def beat(self) -> None:
        """A sign of life, and what follows from it. Raises DatabaseGone."""
        sent = self.leases.sends is not None
        changes = self.leases.beat()
        for taken in changes.taken:
            self._coming[taken.number] = taken
        if changes.given:
            self._forget(changes.given)
            self.leases.give(changes.given)
            self.bell.ring(_SHARDS)
        self._forget([n for n in self._joined if not self.leases.holds(n)])
        if sent != (self.leases.sends is not None):
            self.sending.beat()
        if self._course != self.leases.course:
            self._course = self.leases.course
            self.steered(self._course)

    def steer(self, course: str) -> None:
        """Tell all processes what to do, now; who comes meanwhile does it too. Raises
        DatabaseGone."""
        self.leases.steer(course)
        self.bell.ring(_SHARDS)

    async def run(self) -> None:
        """Live until cancelled."""
        seen, wake = -1, self.bell.pulse(_SHARDS)
        while True:
            try:
                self.beat()
            except Unavailable as trouble:
                self._complaints.about("The leases", trouble)
            else:
                self._complaints.over("The leases")
            seen = await wake.next(seen, BEAT)

    def join(self, known: list[Position]) -> list[Position]:
        """Begin to work on the shards that we took since; from which blocks to read on, so that
        they miss none. Called when the news of all `known` blocks is recorded."""
        ready = [n for n in self._coming if self.leases.holds(n)]
        if not ready or self.replica is None:
            return known
        cursors = [known]
        for number in ready:
            cursor = parsed(self._coming[number].cursor or self._before)
            with self.leases.only([number]):
                self.journal.void_above(cursor[-1][0] if cursor else -1)
            cursors.append(cursor)
        self._joined.update(ready)
        try:
            self.replica.reload(ready)
        except Unavailable:
            self._joined.difference_update(ready)
            raise
        for number in ready:
            del self._coming[number]
        log.info("%d of %d shards are ours now", len(self._joined), SHARDS)
        return earliest(cursors)

    def leave(self) -> None:
        """This process ends: others may take over at once."""
        self._joined.clear()
        self._coming.clear()
        self.leases.leave()

    def _forget(self, shards: Collection[int]) -> None:
        """Stop the work on shards that are not ours any more."""
        self._joined.difference_update(shards)
        for number in shards:
            self._coming.pop(number, None)
        if self.engine is not None and shards:
            lost = [s for s in self.engine.states if shard_of(s) in set(shards)]
            self.engine.drop(lost)
