"""A journal without a disk: what it holds survives every crash of its party."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from tallystick.engine.journal import ChainRef, Entry
from tallystick.lifecycle.facts import Fact


class Memory:
    """What `engine.journal.Journal` promises, for simulated parties."""

    def __init__(self) -> None:
        self.entries: list[Entry[Fact]] = []
        self._void: set[int] = set()
        self._streams: dict[str, list[Entry[Fact]]] = defaultdict(list)
        self._logs: set[tuple[str, type[Fact], str, int]] = set()

    def append(
        self, stream: str, fact: Fact, *, at: float, ref: ChainRef | None = None
    ) -> int | None:
        """Its number, or None when this very log is in the journal already.

        What the chain takes back and tells again gets its old number, if that keeps the facts
        of the chain in the chain's order.
        """
        entry = Entry(len(self.entries) + 1, stream, fact, at, ref)
        if ref is not None:
            log = (stream, type(fact), ref.block_hash, ref.index)
            if log in self._logs:
                return None
            self._logs.add(log)
            if (seq := self._revive(entry)) is not None:
                return seq
        self.entries.append(entry)
        self._streams[stream].append(entry)
        return entry.seq

    def _revive(self, entry: Entry[Fact]) -> int | None:
        stream = self._streams[entry.stream]
        newest = max((e.seq for e in stream if e.ref and e.seq not in self._void), default=0)
        for place, old in enumerate(stream):
            if old.seq > newest and old.seq in self._void and old.fact == entry.fact:
                revived = replace(entry, seq=old.seq)
                stream[place] = self.entries[old.seq - 1] = revived
                self._void.discard(old.seq)
                return old.seq
        return None

    def read(self, after: int = 0, stream: str | None = None) -> Iterable[Entry[Fact]]:
        """Every fact past `after` that still holds."""
        if stream is None:
            return (e for e in self.entries[after:] if e.seq not in self._void)
        entries = self._streams[stream]
        return (e for e in entries if e.seq > after and e.seq not in self._void)

    def together(self) -> AbstractContextManager[None]:
        """What is in memory is always written at once."""
        return nullcontext()

    def void_above(self, block: int) -> tuple[str, ...]:
        """Void every chain fact seen above `block`; the streams that must be folded again."""
        gone = {
            entry.seq: entry
            for entry in reversed(self.entries)
            if entry.ref and entry.ref.block > block and entry.seq not in self._void
        }
        self._void |= gone.keys()
        for entry in gone.values():
            if entry.ref:
                log = (entry.stream, type(entry.fact), entry.ref.block_hash, entry.ref.index)
                self._logs.discard(log)
        return tuple(sorted({entry.stream for entry in gone.values()}))

    def copy(self) -> Memory:
        """A backup."""
        backup = Memory()
        backup.entries = list(self.entries)
        backup._void, backup._logs = set(self._void), set(self._logs)
        for stream, entries in self._streams.items():
            backup._streams[stream] = list(entries)
        return backup

    def timing(self, what: str, stream: str, due: float, sent: float) -> None:
        """Simulated seconds measure nothing."""

    def timings(self, stream: str) -> list[tuple[str, float, float]]:
        """None: virtual time is not measured."""
        return []
