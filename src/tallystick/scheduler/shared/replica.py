"""Knows the tasks of the other processes too, by reading the journal that all of them share.

Within a shard facts become visible in the order of their numbers, since only its owner writes
and the next owner begins when the last one's statements are over. So a number for each shard
tells how far it was read. What a reorg took away is no new fact: then the shard is read anew.

Needs the extra `tallystick[postgres]`: load it through `engine.databases` only.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Final, Protocol

from tallystick.engine.complaints import Complaints
from tallystick.engine.errors import Unavailable
from tallystick.engine.fence import SHARDS, shard_of
from tallystick.engine.journal import Entry
from tallystick.engine.postgres_link import Link
from tallystick.lifecycle.facts import Fact, IllegalFact
from tallystick.scheduler.shared.bell import LOOK, REFOLD, Bell

if TYPE_CHECKING:
    from tallystick.scheduler.inside import PoolEngine

log = logging.getLogger(__name__)

_NEWEST: Final = """
SELECT shard, max(seq) FROM facts
WHERE seq > %s AND shard = ANY(%s::smallint[]) AND NOT void GROUP BY shard"""
_EPOCHS: Final = "SELECT number, epoch FROM shard"


class SharedFacts(Protocol):
    """What a replica needs of the journal."""

    def read(
        self,
        after: int = 0,
        stream: str | None = None,
        *,
        shards: Collection[int] | None = None,
    ) -> Iterable[Entry[Fact]]:
        """Entries numbered over `after`, oldest first; of a stream, of some shards, or all."""
        ...


class Replica:
    """Keeps the states of an engine equal to the journal, where others write."""

    def __init__(
        self,
        *,
        engine: PoolEngine,
        journal: SharedFacts,
        link: Link,
        bell: Bell,
        holds: Callable[[int], bool],
    ) -> None:
        """The engine has just read the whole journal. `holds`: the shards that nobody else
        writes."""
        self._engine, self._journal, self._link, self._holds = engine, journal, link, holds
        self._read = dict.fromkeys(range(SHARDS), 0)
        self._epochs: dict[int, int] = {}
        self._stale: set[int] = set(range(SHARDS))
        self._complaints = Complaints(log)
        self._news = bell.pulse("facts")
        bell.hear(self._called)
        engine.listen(self._note)
        for entry in journal.read():
            self._note(entry)

    async def run(self) -> None:
        """Follow what others write until cancelled."""
        seen = -1
        while True:
            try:
                self.refresh()
            except Unavailable as trouble:
                self._complaints.about("What other schedulers write", trouble)
            else:
                self._complaints.over("What other schedulers write")
            seen = await self._news.next(seen, LOOK)

    def refresh(self) -> None:
        """Take over all that others have written. Raises Unavailable."""
        epochs: dict[int, int] = dict(self._link.rows(_EPOCHS))
        self._stale |= {n for n in epochs if epochs[n] != self._epochs.get(n)}
        self._epochs = epochs
        self.reload([shard for shard in self._stale if not self._holds(shard)])
        self._stale.clear()
        self._follow()

    def reload(self, shards: Collection[int]) -> None:
        """Read some shards anew, whatever is known of them. Raises Unavailable."""
        if not shards:
            return
        entries = list(self._journal.read(shards=shards))
        known = [s for s in self._engine.states if shard_of(s) in shards]
        fresh = [e for e in entries if e.seq > self._read[shard_of(e.stream)]]
        self._engine.adopt(known, entries)
        for entry in fresh:
            self._engine.announce(entry)

    def _follow(self) -> None:
        others = [shard for shard in range(SHARDS) if not self._holds(shard)]
        floor = min((self._read[shard] for shard in others), default=0)
        newest: dict[int, int] = dict(self._link.rows(_NEWEST, (floor, others)))
        behind = [n for n, seq in newest.items() if seq > self._read[n]]
        if not behind:
            return
        broken = set[int]()
        for entry in list(
            self._journal.read(min(self._read[n] for n in behind), shards=behind)
        ):
            if entry.seq > self._read[shard_of(entry.stream)]:
                broken |= self._learn(entry)
        self.reload(broken)

    def _learn(self, entry: Entry[Fact]) -> set[int]:
        """The shard, when what is known of it cannot be right."""
        try:
            self._engine.learn(entry)
        except IllegalFact as surprise:
            log.info("%s is read anew: %s", entry.stream, surprise)
            return {shard_of(entry.stream)}
        return set()

    def _note(self, entry: Entry[Fact]) -> None:
        shard = shard_of(entry.stream)
        self._read[shard] = max(self._read[shard], entry.seq)

    def _called(self, what: str) -> None:
        """Facts were taken back somewhere, or calls may have been lost."""
        kind, _, number = what.partition(" ")
        if not what:
            self._stale |= set(range(SHARDS))
        elif kind == REFOLD:
            self._stale.add(int(number))
            self._news.beat()
