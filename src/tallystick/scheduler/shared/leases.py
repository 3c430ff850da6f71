"""What this process holds: shards of the pool's tasks, and the wallet that sends.

The database decides, by its own clock, in one statement a change. This process believes itself
to be the holder for no longer than the database does: it counts from before it asked.

Needs the extra `tallystick[postgres]`: load it through `engine.databases` only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, LiteralString

from tallystick.engine.fence import LEASE, Fence, Fenced, shard_of
from tallystick.engine.postgres_link import Link
from tallystick.scheduler.shared.shares import Share, plan

log = logging.getLogger(__name__)

BEAT: Final = 1.0
"""Seconds between two signs of life."""

_ALIVE: Final = """
INSERT INTO process (id, url, course) VALUES (%(me)s, %(url)s, coalesce((
    SELECT max(course) FROM process
    WHERE beat > clock_timestamp() - %(lease)s * interval '1 second'), ''))
ON CONFLICT (id) DO UPDATE SET beat = clock_timestamp(), epoch = CASE
    WHEN process.beat > clock_timestamp() - %(lease)s * interval '1 second'
    THEN process.epoch ELSE nextval('life') END, course = CASE
    WHEN process.beat > clock_timestamp() - %(lease)s * interval '1 second'
    THEN process.course ELSE coalesce(nullif(excluded.course, ''), process.course) END
RETURNING epoch, course"""
_STEER: Final = """UPDATE process SET course = %(course)s
WHERE beat > clock_timestamp() - %(lease)s * interval '1 second'"""
_OTHERS: Final = """
SELECT id FROM process WHERE beat > clock_timestamp() - %(lease)s * interval '1 second'"""
_BURY: Final = """
DELETE FROM process WHERE beat < clock_timestamp() - interval '1 hour'"""
_SHARES: Final = """
SELECT number, holder, until < clock_timestamp() FROM shard ORDER BY number"""
_RENEW: Final = """
UPDATE shard SET until = clock_timestamp() + %(lease)s * interval '1 second'
WHERE holder = %(me)s AND until > clock_timestamp() AND number IN (
    SELECT number FROM shard WHERE number = ANY(%(numbers)s::smallint[])
    ORDER BY number FOR UPDATE)
RETURNING number, epoch"""
_TAKE: Final = """
UPDATE shard SET holder = %(me)s, epoch = epoch + 1,
    until = clock_timestamp() + %(lease)s * interval '1 second'
WHERE number IN (
    SELECT number FROM shard WHERE number = ANY(%(numbers)s::smallint[])
      AND (holder IS NULL OR holder = %(me)s OR until < clock_timestamp())
    ORDER BY number FOR UPDATE SKIP LOCKED)
RETURNING number, epoch, cursor"""
_GIVE: Final = """
UPDATE shard SET holder = NULL, until = '-infinity'
WHERE holder = %(me)s AND number = ANY(%(numbers)s::smallint[])"""
_WALLET_ROW: Final = "INSERT INTO lease (name) VALUES (%(name)s) ON CONFLICT DO NOTHING"
_WALLET_RENEW: Final = """
UPDATE lease SET until = clock_timestamp() + %(lease)s * interval '1 second'
WHERE name = %(name)s AND holder = %(me)s AND epoch = %(epoch)s AND until > clock_timestamp()
RETURNING epoch"""
_WALLET_TAKE: Final = """
UPDATE lease SET holder = %(me)s, epoch = epoch + 1,
    until = clock_timestamp() + %(lease)s * interval '1 second'
WHERE name = %(name)s AND (holder IS NULL OR until < clock_timestamp())
RETURNING epoch"""
_WALLET_GIVE: Final = """
UPDATE lease SET holder = NULL, until = '-infinity'
WHERE name = %(name)s AND holder = %(me)s"""
_LEFT: Final = "DELETE FROM process WHERE id = %(me)s"


@dataclass(frozen=True, slots=True)
class _Right:
    epoch: int
    until: float
    """By this machine's monotonic clock, which goes on while the process is stopped."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A shard that is ours now."""

    number: int
    cursor: str | None
    """The blocks whose logs are recorded for it."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What a beat changed."""

    taken: tuple[Taken, ...] = ()
    lost: tuple[int, ...] = ()
    given: tuple[int, ...] = ()


@dataclass(slots=True)
class Leases:
    """The rights of one process (`engine.fence.Fences`)."""

    link: Link
    me: str
    url: str
    wallet: str
    """The name of the lease without which nothing is sent."""
    clock: Callable[[], float] = time.monotonic
    _shards: dict[int, _Right] = field(default_factory=dict[int, _Right])
    _sender: _Right | None = None
    _only: Collection[int] | None = None
    _life: _Right | None = None
    alive: tuple[str, ...] = ()
    """The processes that were heard of lately, this one included."""
    course: str = ""
    """What the operator told all processes to do; empty: to work."""

    def of(self, shard: int) -> Fence:
        """The right to a shard. Raises Fenced."""
        right = self._shards.get(shard)
        if right is None or self.clock() >= right.until:
            raise Fenced(f"Shard {shard} belongs to another process.")
        return Fence(shard, right.epoch, self.me)

    def held(self) -> Iterable[Fence]:
        """Every right that this process believes to have."""
        shards = self._shards if self._only is None else self._only
        return [
            Fence(shard, right.epoch, self.me)
            for shard in shards
            if (right := self._shards.get(shard)) and self.clock() < right.until
        ]

    def life(self) -> Fence:
        """The right to write what belongs to no task. Raises Fenced."""
        if self._life is None or self.clock() >= self._life.until:
            raise Fenced("This process has to be heard of again before it writes.")
        return Fence(-1, self._life.epoch, self.me)

    def steer(self, course: str) -> None:
        """Tell all processes that live what to do. Raises DatabaseGone."""
        self.link.rows(_STEER, self._values(course=course))

    def holds(self, shard: int) -> bool:
        """Whether this process believes to hold a shard."""
        right = self._shards.get(shard)
        return right is not None and self.clock() < right.until

    def owns(self, stream: str) -> bool:
        """Whether this process believes to own a task."""
        return self.holds(shard_of(stream))

    @property
    def sends(self) -> Fence | None:
        """The right to send what the wallet signs; None when another process has it. Its
        `shard` means nothing."""
        right = self._sender
        if right is None or self.clock() >= right.until:
            return None
        return Fence(-1, right.epoch, self.me)

    @contextmanager
    def only(self, shards: Collection[int]) -> Iterator[None]:
        """Within this block `held` tells of these shards alone."""
        self._only = shards
        try:
            yield
        finally:
            self._only = None

    def lose(self, shard: int) -> None:
        """The database says that a shard is not ours: never again with this epoch."""
        self._shards.pop(shard, None)

    def beat(self) -> Changes:
        """Tell that we live, keep what is ours, take what is free and falls to us.

        What has to be given up is only named (`given`): whoever stops the work on it calls
        `give`. Raises DatabaseGone.
        """
        before = self.clock()
        ((epoch, self.course),) = self.link.rows(_ALIVE, self._values())
        self._life = _Right(epoch, before + LEASE)
        others = self.link.rows(_OTHERS, self._values())
        self.alive = tuple(sorted(name for (name,) in others))
        lost = self._renew()
        rows = self.link.rows(_SHARES)
        mine = plan([self._share(*row) for row in rows], self.me, self.alive)
        taken = self._take(mine.take) if mine.take else ()
        self.beat_of_wallet()
        self.link.rows(_BURY)
        return Changes(taken, lost, tuple(n for n in mine.give if n in self._shards))

    def give(self, shards: Collection[int]) -> None:
        """Let others have these shards, on which nobody here works any more."""
        for shard in shards:
            self._shards.pop(shard, None)
        self.link.rows(_GIVE, self._values(numbers=sorted(shards)))

    def leave(self) -> None:
        """Give everything up, since this process ends."""
        self.give(list(self._shards))
        self._sender = self._life = None
        self.link.rows(_WALLET_GIVE, self._values())
        self.link.rows(_LEFT, self._values())

    def _renew(self) -> tuple[int, ...]:
        """What was not ours any more counts as lost, also when nobody else has taken it: what
        came in between was refused, and has to be read again."""
        if not self._shards:
            return ()
        before, known = self.clock(), dict(self._shards)
        renewed = dict(self._rows(_RENEW, known))
        for number, right in known.items():
            if renewed.get(number) == right.epoch:
                self._shards[number] = _Right(right.epoch, before + LEASE)
        lost = tuple(n for n, right in known.items() if renewed.get(n) != right.epoch)
        for number in lost:
            self.lose(number)
        return lost

    def _share(self, number: int, holder: str | None, expired: bool) -> Share:
        """What we have forgotten although the row says it is ours is to be taken anew."""
        forgotten = holder == self.me and number not in self._shards
        return Share(number, None if forgotten else holder, expired)

    def _take(self, numbers: Collection[int]) -> tuple[Taken, ...]:
        before = self.clock()
        taken = self.link.rows(_TAKE, self._values(numbers=sorted(numbers)))
        for number, epoch, _ in taken:
            self._shards[number] = _Right(epoch, before + LEASE)
        return tuple(Taken(number, cursor) for number, _, cursor in taken)

    def beat_of_wallet(self) -> None:
        """Keep the right to send, or take it when nobody has it. Raises DatabaseGone."""
        before, mine = self.clock(), self._sender
        if mine is not None:
            kept = self.link.rows(_WALLET_RENEW, self._values(epoch=mine.epoch))
            self._sender = _Right(mine.epoch, before + LEASE) if kept else None
        if self._sender is None:
            self.link.rows(_WALLET_ROW, self._values())
            if taken := self.link.rows(_WALLET_TAKE, self._values()):
                self._sender = _Right(taken[0][0], before + LEASE)
                log.info("This process sends for the wallet now (%s)", self.me)

    def _rows(self, statement: LiteralString, numbers: Iterable[int]) -> list[tuple[int, int]]:
        rows = self.link.rows(statement, self._values(numbers=sorted(numbers)))
        return [(number, epoch) for number, epoch in rows]

    def _values(self, **more: object) -> dict[str, object]:
        return {
            "me": self.me,
            "url": self.url,
            "lease": LEASE,
            "name": self.wallet,
            **more,
        }
