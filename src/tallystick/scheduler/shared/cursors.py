"""How far the chain is recorded, for each shard; and going back where a new one is behind.

Needs the extra `tallystick[postgres]`: load it through `engine.databases` only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from typing import Final

from tallystick.chain.watcher import Position
from tallystick.engine.fence import Fence
from tallystick.engine.postgres_link import Link
from tallystick.poco.values import Hash

_SAVE: Final = """
UPDATE shard SET cursor = %s
FROM unnest(%s::smallint[], %s::bigint[], %s::text[]) AS mine (of, since, who)
WHERE number = mine.of AND epoch = mine.since AND holder = mine.who
  AND until > clock_timestamp()"""
_LOAD: Final = "SELECT cursor FROM shard WHERE cursor IS NOT NULL"
_NEAR: Final = 16
_KEPT: Final = 32


class ShardCursors:
    """The cursor of a watcher whose process holds some shards (`chain.watcher.Cursor`)."""

    def __init__(self, link: Link, rights: Callable[[], Iterable[Fence]]) -> None:
        """`rights`: to the shards for which the chain is recorded here without a gap."""
        self._link, self._rights = link, rights

    def load(self) -> list[Position]:
        """The farthest of all: who gets a shard that is behind goes back (`earliest`)."""
        known = [parsed(text) for (text,) in self._link.rows(_LOAD)]
        return max(known, key=_newest, default=[])

    def save(self, blocks: list[Position]) -> None:
        """These blocks are recorded for each shard that is ours."""
        rights = list(self._rights())
        if not rights:
            return
        few = thinned(blocks)
        text = json.dumps([(number, str(block)) for number, block in few])
        columns = zip(*((r.shard, r.epoch, r.holder) for r in rights), strict=True)
        self._link.rows(_SAVE, (text, *map(list, columns)))


def parsed(text: str | None) -> list[Position]:
    """The blocks of a cursor, newest last; none for a shard that is new."""
    return [(number, Hash(block)) for number, block in json.loads(text or "[]")]


def earliest(cursors: Collection[list[Position]]) -> list[Position]:
    """The cursor from which none of these misses a block."""
    return min(cursors, key=_newest)


def thinned(blocks: list[Position]) -> list[Position]:
    """The newest ones, and some older to find where a deep fork began."""
    near, far = blocks[-_NEAR:], blocks[:-_NEAR]
    step = max(1, len(far) // (_KEPT - _NEAR))
    return far[::step] + near


def _newest(blocks: list[Position]) -> int:
    return blocks[-1][0] if blocks else -1
