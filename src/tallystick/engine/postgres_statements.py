"""The journal's statements for PostgreSQL. Each one is a whole transaction, in one round trip.

`held` has a row while this process owns the shard, by the clock of the server. The row stays
locked until the statement is over, so nobody can take the shard between the look and the write.
"""

from __future__ import annotations

from typing import Final, LiteralString

OURS: Final = """held AS MATERIALIZED (
    SELECT number FROM shard JOIN unnest(%(shards)s::smallint[], %(epochs)s::bigint[],
        %(holders)s::text[]) AS mine (of, since, who)
      ON number = mine.of AND epoch = mine.since AND holder = mine.who
    WHERE until > clock_timestamp() FOR SHARE OF shard
)"""
"""Which of these rights are good."""
_FREE: Final = "held AS (SELECT 1)"
_FENCED: Final = """held AS MATERIALIZED (
    SELECT 1 FROM shard
    WHERE number = %(shard)s::smallint AND epoch = %(epoch)s::bigint
      AND holder = %(holder)s::text AND until > clock_timestamp()
    FOR SHARE
)"""

_CARRIED: Final = """carried AS (
    INSERT INTO timings (what, stream, due, sent)
    SELECT * FROM unnest(
        %(what)s::text[], %(of)s::text[], %(due)s::float8[], %(sent)s::float8[]
    ) WHERE EXISTS (SELECT FROM held)
)"""

_REVIVED: Final = """revived AS (
    UPDATE facts SET void = FALSE, at = %(at)s::float8, block = %(block)s::bigint,
        block_hash = %(block_hash)s::text, log_index = %(index)s::integer, tx = %(tx)s::text
    WHERE EXISTS (SELECT FROM held) AND NOT EXISTS (SELECT FROM known) AND seq = (
        SELECT min(seq) FROM facts
        WHERE stream = %(stream)s::text AND kind = %(kind)s::text AND body = %(body)s::text
          AND void AND seq > (
            SELECT coalesce(max(seq), 0) FROM facts
            WHERE stream = %(stream)s::text AND block IS NOT NULL AND NOT void
        )
    ) RETURNING seq
)"""
_KNOWN: Final = """known AS (
    SELECT 1 FROM facts
    WHERE stream = %(stream)s::text AND kind = %(kind)s::text
      AND block_hash = %(block_hash)s::text AND log_index = %(index)s::integer AND NOT void
)"""

_CHAIN: Final = f"""{_KNOWN}, {_REVIVED}, added AS (
    INSERT INTO facts (shard, stream, kind, body, at, block, block_hash, log_index, tx)
    SELECT %(shard)s::smallint, %(stream)s::text, %(kind)s::text, %(body)s::text,
        %(at)s::float8, %(block)s::bigint, %(block_hash)s::text, %(index)s::integer,
        %(tx)s::text
    WHERE EXISTS (SELECT FROM held) AND NOT EXISTS (SELECT FROM known)
      AND NOT EXISTS (SELECT FROM revived)
    ON CONFLICT DO NOTHING RETURNING seq
)"""
_OWN: Final = """revived AS (SELECT NULL::bigint AS seq WHERE FALSE), added AS (
    INSERT INTO facts (shard, stream, kind, body, at)
    SELECT %(shard)s::smallint, %(stream)s::text, %(kind)s::text, %(body)s::text, %(at)s::float8
    WHERE EXISTS (SELECT FROM held) RETURNING seq
)"""
_TOLD: Final = """SELECT EXISTS (SELECT FROM held),
    coalesce((SELECT seq FROM revived), (SELECT seq FROM added))"""


def append(*, chain: bool, fenced: bool) -> LiteralString:
    """Writes a fact; answers whether we own its stream, and the number of the fact if it has
    one. What the chain tells may be known, or may have been taken back and be told again."""
    held = _FENCED if fenced else _FREE
    return f"WITH {held}, {_CARRIED}, {_CHAIN if chain else _OWN} {_TOLD}"


FIND: Final = """SELECT seq FROM facts
WHERE stream = %(stream)s::text AND kind = %(kind)s::text AND body = %(body)s::text
  AND at = %(at)s::float8 AND NOT void ORDER BY seq DESC LIMIT 1"""
"""The fact that `append` wrote with these values, if it did."""

_UNDONE: Final = """voided AS (
    UPDATE facts SET void = TRUE
    WHERE seq = %(seq)s::bigint AND seq <= %(newest)s::bigint AND EXISTS (SELECT FROM held)
), removed AS (
    DELETE FROM facts
    WHERE seq = %(seq)s::bigint AND seq > %(newest)s::bigint AND EXISTS (SELECT FROM held)
)"""


def undo(*, fenced: bool) -> LiteralString:
    """Takes back a fact of which nobody was told, unless its stream has another owner, who has
    read it."""
    return f"WITH {_FENCED if fenced else _FREE}, {_UNDONE} SELECT EXISTS (SELECT FROM held)"


VOID: Final = """UPDATE facts SET void = TRUE
WHERE block > %(block)s::bigint AND NOT void RETURNING stream"""
VOID_OURS: Final = f"""WITH {OURS} UPDATE facts SET void = TRUE
WHERE block > %(block)s::bigint AND NOT void AND shard IN (SELECT number FROM held)
RETURNING stream"""
VOIDED: Final = "SELECT DISTINCT stream FROM facts WHERE block > %s::bigint AND void"

READ: Final = """SELECT seq, stream, kind, body, at, block, block_hash, log_index, tx FROM facts
WHERE seq > %(after)s::bigint AND NOT void"""
READ_STREAM: Final = f"{READ} AND stream = %(stream)s::text ORDER BY seq"
READ_PAGE: Final = f"{READ} ORDER BY seq LIMIT %(most)s::integer"
READ_SHARDS: Final = f"""{READ} AND shard = ANY(%(shards)s::smallint[])
ORDER BY seq LIMIT %(most)s::integer"""

LIVING: Final = """SELECT FROM process WHERE id = %(holder)s::text
AND epoch = %(epoch)s::bigint AND beat > clock_timestamp() - %(lease)s * interval '1 second'"""
"""Has a row while a process was heard of lately, and did not sleep since it last looked."""
_NOTE: Final = """INSERT INTO notes SELECT %(key)s::text, %(value)s::text"""
_NEWER: Final = "ON CONFLICT (key) DO UPDATE SET value = excluded.value RETURNING TRUE"
NOTE: Final = f"{_NOTE} {_NEWER}"
NOTE_OURS: Final = f"{_NOTE} WHERE EXISTS ({LIVING}) {_NEWER}"
NOTED: Final = "SELECT value FROM notes WHERE key = %s"
_FORGET: Final = "DELETE FROM notes WHERE key = %(key)s::text"
FORGET: Final = f"{_FORGET} RETURNING TRUE"
FORGET_OURS: Final = f"""WITH forgotten AS ({_FORGET} AND EXISTS ({LIVING}))
SELECT TRUE WHERE EXISTS ({LIVING})"""
NOTES: Final = "SELECT key, value FROM notes WHERE starts_with(key, %s)"
CARRY: Final = """INSERT INTO timings (what, stream, due, sent)
SELECT * FROM unnest(%(what)s::text[], %(of)s::text[], %(due)s::float8[], %(sent)s::float8[])"""
TIMINGS: Final = "SELECT what, due, sent FROM timings WHERE stream = %s ORDER BY sent, id"
