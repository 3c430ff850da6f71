"""Which shards a process takes, keeps and gives up. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """One shard, as its row says."""

    number: int
    holder: str | None
    """Who took it last and did not give it back."""
    expired: bool
    """By the clock of the database."""

    @property
    def free(self) -> bool:
        """Whether anybody may take it."""
        return self.holder is None or self.expired


@dataclass(frozen=True, slots=True)
class Plan:
    """What a process does about its shards now."""

    take: tuple[int, ...]
    renew: tuple[int, ...]
    give: tuple[int, ...]


def plan(shares: Iterable[Share], me: str, alive: Collection[str]) -> Plan:
    """What `me` does; `alive` are the processes that were heard of lately.

    Each process may hold as many as fall to it when the shards are dealt out in the order of
    the processes' names, so all hold about equal numbers, and what one gives up is what others
    may take. Two who take the same shard at once are told apart by the database.
    """
    rows = sorted(shares, key=lambda share: share.number)
    mine = [row.number for row in rows if row.holder == me and not row.expired]
    free = [row.number for row in rows if row.free]
    most = quota(len(rows), me, alive)
    room = max(0, most - len(mine))
    at = sorted({*alive, me}).index(me) * len(free) // len({*alive, me})
    turned = free[at:] + free[:at]  # each begins elsewhere: fewer take the same one
    return Plan(tuple(turned[:room]), tuple(mine[:most]), tuple(mine[most:]))


def quota(shards: int, me: str, alive: Collection[str]) -> int:
    """How many of the shards fall to `me`."""
    names = sorted({*alive, me})
    each, more = divmod(shards, len(names))
    return each + (names.index(me) < more)
