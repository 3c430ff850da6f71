"""The journal in a PostgreSQL database that several processes share.

Needs the extra `tallystick[postgres]`: load it through `engine.databases` only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Generic, LiteralString, TypeVar

from pydantic import TypeAdapter

from tallystick.engine import postgres_statements as st
from tallystick.engine.databases import DatabaseGone
from tallystick.engine.errors import DiskTrouble
from tallystick.engine.fence import LEASE, Fence, Fenced, Fences, shard_of
from tallystick.engine.journal import ChainRef, Entry, NewerJournal
from tallystick.engine.postgres_batch import Batch, columns, timings_as
from tallystick.engine.postgres_link import Link, Row, shown

F = TypeVar("F")

_PAGE: Final = 2_000
"""Facts that are fetched at once."""
_APPEND: Final = {
    (chain, fenced): st.append(chain=chain, fenced=fenced)
    for chain in (True, False)
    for fenced in (True, False)
}


class PostgresJournal(Generic[F]):
    """Facts in the order they were accepted. A fact is durable once `append` returns.

    Does what `engine.journal.Journal` does. With `fences` a fact is only written while the
    database says that this process owns its stream: both is decided in one statement.
    Whatever writes raises DatabaseGone, a DiskTrouble, when the server cannot do it for now,
    and nothing was changed; it connects again by itself.
    """

    def __init__(
        self, url: str, kinds: tuple[type[F], ...], fences: Fences | None = None
    ) -> None:
        """The tables must be there (`postgres_schema.migrate`). Raises DatabaseGone."""
        self.path = shown(url)
        self._trouble: DiskTrouble | None = None
        self._link = Link(url)
        self._fences = fences
        self._codecs = {kind.__name__: TypeAdapter(kind) for kind in kinds}
        self._timings: list[tuple[str, str, float, float]] = []
        self._doubt: list[Mapping[str, Any]] = []
        """Facts that may be written or not: the connection broke just then."""
        self._void_doubt = False
        self._joined: Batch | None = None
        """In `together`: what will be durable at its end."""
        self._newest = 0

    @property
    def trouble(self) -> DiskTrouble | None:
        """Why the last attempt to write failed, or the next one would; None when it did not."""
        if self._trouble is None and self._link.hangs:
            return DatabaseGone(f"{self.path} does not answer.")
        return self._trouble

    def append(
        self, stream: str, fact: F, *, at: float, ref: ChainRef | None = None
    ) -> int | None:
        """Its number, or None when this very log is in the journal already.

        What the chain took back and tells again gets its old number, so that what followed
        from it holds again; but only where that keeps the chain's facts in the chain's order.
        Raises Fenced when another process owns the stream.
        """
        kind = type(fact).__name__
        body = self._codecs[kind].dump_json(fact).decode()
        shard = shard_of(stream)
        values = {"stream": stream, "kind": kind, "body": body, "at": at, "shard": shard}
        values |= {"newest": self._newest, **self._right_to(shard)}
        if ref:
            values |= _place(ref)
        with self._change():
            self._settle()
            held, seq = self._joins(values) if self._joined else self._carrying(values)
        if not held:
            raise Fenced(f"{stream} belongs to another process now.")
        self._newest = max(self._newest, seq or 0)
        return None if seq is None else int(seq)

    def read(
        self,
        after: int = 0,
        stream: str | None = None,
        *,
        shards: Collection[int] | None = None,
    ) -> Iterator[Entry[F]]:
        """Every fact past `after` that still holds: from 0 to recover, else to follow; of one
        stream or of some shards. Raises DatabaseGone."""
        self._settle()
        wanted = None if shards is None else sorted(shards)
        for row in self._found(after, stream, wanted):
            yield self._entry(row)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Whatever is written in this block is one transaction, made durable at its end: all
        of it, or nothing and DatabaseGone. Nothing may be awaited in it."""
        with self._change():
            self._settle()
            rights = None if self._fences is None else list(self._fences.held())
            self._joined = batch = Batch(self._link.rows, rights)
            over = False
            try:
                with self._link.transaction():
                    yield
                    batch.send()
                    over = True
            except DatabaseGone:
                if not (over and self._link.lost):
                    raise  # the server has forgotten all of it
                self._joined, self._doubt = None, batch.written
                if self._doubt and not self._link.rows(st.FIND, self._doubt[-1]):
                    raise
                self._doubt = []
            finally:
                self._joined = None

    def void_above(self, block: int) -> tuple[str, ...]:
        """Void every chain fact of ours seen above `block`; the streams to be folded again."""
        rights = None if self._fences is None else list(self._fences.held())
        with self._change():
            self._settle()
            doubtful = self._rows(st.VOIDED, (block,)) if self._void_doubt else []
            try:
                rows = self._void(block, rights)
            except DatabaseGone:
                self._void_doubt = True
                raise
            self._void_doubt = False
        return tuple(sorted({stream for (stream,) in (*doubtful, *rows)}))

    def note(self, key: str, value: str) -> None:
        """Remember one small thing beside the facts: a cursor, a registration. Raises Fenced
        when this process was not heard of lately: what it knows may be out of date."""
        with self._change():
            self._note(st.NOTE, st.NOTE_OURS, {"key": key, "value": value})

    def noted(self, key: str) -> str | None:
        """What `note` last remembered under `key`."""
        found = self._again(st.NOTED, (key,))
        return found[0][0] if found else None

    def forget(self, key: str) -> None:
        """Drop what was noted under `key`. Raises Fenced, as `note` does."""
        with self._change():
            self._note(st.FORGET, st.FORGET_OURS, {"key": key})

    def notes(self, prefix: str) -> dict[str, str]:
        """Every note whose key starts with `prefix`."""
        return dict(self._again(st.NOTES, (prefix,)))

    def timing(self, what: str, stream: str, due: float, sent: float) -> None:
        """Keep how long an act waited for us; both instants in seconds since the epoch.

        It rides with the next fact: to write it at once would cost what it measures.
        """
        self._timings.append((what, stream, due, sent))

    def timings(self, stream: str) -> list[tuple[str, float, float]]:
        """What was sent for `stream`, when it became due and when it left."""
        with self._change():
            self._flush_timings()
        return self._again(st.TIMINGS, (stream,))

    def close(self) -> None:
        """End the session."""
        with self._change():
            self._flush_timings()
        self._link.close()

    @contextmanager
    def _change(self) -> Iterator[None]:
        try:
            yield
        except DiskTrouble as trouble:
            self._trouble = trouble
            raise
        self._trouble = None

    def _note(
        self, free: LiteralString, fenced: LiteralString, values: Mapping[str, Any]
    ) -> None:
        if self._fences is None:
            self._again(free, values)
            return
        life = self._fences.life()
        mine = {"holder": life.holder, "epoch": life.epoch, "lease": LEASE}
        if not self._again(fenced, {**values, **mine}):
            raise Fenced("This process slept and has to be heard of again before it writes.")

    def _right_to(self, shard: int) -> dict[str, Any]:
        if self._fences is None:
            return {}
        fence = self._fences.of(shard)
        return {"epoch": fence.epoch, "holder": fence.holder}

    def _joins(self, values: Mapping[str, Any]) -> Row:
        """In `together`: what the chain tells is looked up; the rest waits."""
        assert self._joined is not None
        if "block" in values:
            self._joined.forget_numbers()
            timed = timings_as(self._timings)
            row = self._rows(_APPEND[True, self._fences is not None], {**values, **timed})[0]
            if row[1] is not None:
                self._joined.written.append(values)
        elif (row := self._joined.add(values))[0]:
            self._joined.timed += self._timings
        if row[0]:
            self._timings.clear()
        return row

    def _carrying(self, values: Mapping[str, Any]) -> Row:
        """A fact by itself, and with it what was timed."""
        carried = list(self._timings)
        row = self._write({**values, **timings_as(carried)})
        if row[0]:
            del self._timings[: len(carried)]
        return row

    def _write(self, values: Mapping[str, Any]) -> Row:
        """When the connection breaks meanwhile, look whether it was done, else do it again."""
        statement = _APPEND["block" in values, self._fences is not None]
        try:
            return self._link.rows(statement, values)[0]
        except DatabaseGone:
            if not self._link.lost:
                raise  # it was refused as a whole
            self._doubt = [values]
        found = self._link.rows(st.FIND, values)
        row = (True, found[0][0]) if found else self._link.rows(statement, values)[0]
        self._doubt = []
        return row

    def _settle(self) -> None:
        """Undo what may have been written although nobody was told."""
        if self._joined is not None:
            return
        while self._doubt:
            values = self._doubt[-1]
            if found := self._link.rows(st.FIND, values):
                statement = st.undo(fenced=self._fences is not None)
                self._link.rows(statement, {**values, "seq": found[0][0]})
            self._doubt.pop()

    def _void(self, block: int, rights: Sequence[Fence] | None) -> list[Row]:
        if rights is None:
            return self._rows(st.VOID, {"block": block})
        return self._rows(st.VOID_OURS, {"block": block, **columns(rights)})

    def _found(self, after: int, stream: str | None, shards: list[int] | None) -> Iterator[Row]:
        """Page by page: a pool has more facts than should be in memory twice."""
        if stream is not None:
            yield from self._again(st.READ_STREAM, {"after": after, "stream": stream})
            return
        statement = st.READ_PAGE if shards is None else st.READ_SHARDS
        page: Sequence[Row] = [(after,)]
        while page:
            values = {"after": page[-1][0], "shards": shards, "most": _PAGE}
            page = self._again(statement, values)
            yield from page

    def _entry(self, row: Row) -> Entry[F]:
        seq, stream, kind, body, at, *place = row
        if (codec := self._codecs.get(kind)) is None:
            raise NewerJournal(
                f"{self.path} tells of {kind!r}, which this version does not know: use the"
                " version that wrote it, or a newer one."
            )
        ref = ChainRef(*place) if place[1] is not None else None
        return Entry(seq, stream, codec.validate_json(body), at, ref)

    def _again(
        self, statement: LiteralString, values: Sequence[Any] | Mapping[str, Any]
    ) -> list[Row]:
        """A statement that may be done twice: once more when the connection was lost."""
        try:
            return self._rows(statement, values)
        except DatabaseGone:
            if not self._link.lost:
                raise
        return self._link.rows(statement, values)

    def _rows(
        self, statement: LiteralString, values: Sequence[Any] | Mapping[str, Any]
    ) -> list[Row]:
        """A statement, after all that waits to be written."""
        if self._joined is not None:
            self._joined.send()
        return self._link.rows(statement, values)

    def _flush_timings(self) -> None:
        if self._timings:
            self._rows(st.CARRY, timings_as(self._timings))
            self._timings.clear()


def _place(ref: ChainRef) -> dict[str, Any]:
    return {
        "block": ref.block,
        "block_hash": ref.block_hash,
        "index": ref.index,
        "tx": ref.tx,
    }
