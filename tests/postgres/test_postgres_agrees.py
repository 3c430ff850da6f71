"""Whatever is done to a journal in a file and to one on a server, both tell the same then."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any, get_args

import psycopg
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from postgres_lab import ready_postgres

from tallystick.engine.journal import ChainRef, Journal
from tallystick.engine.postgres import PostgresJournal
from tallystick.lifecycle.facts import Claimed, Fact, Initialized, Started
from tallystick.poco.values import Address

__all__ = ["ready_postgres"]

KINDS = get_args(Fact)
STREAMS = ("a", "b")
FACTS: tuple[Fact, ...] = (Initialized(), Claimed(), Started(Address(b"\1" * 20)))
Act = Callable[["Numbered"], Any]


class Nothing(Exception):
    """Ends a block so that nothing of it stays."""


class Numbered:
    """A journal whose facts count from 1. A server leaves out numbers that were taken back."""

    def __init__(self, journal: Any) -> None:
        self.journal, self.seqs = journal, list[int]()

    def append(self, stream: str, fact: Fact, at: float, ref: ChainRef | None) -> int | None:
        seq = self.journal.append(stream, fact, at=at, ref=ref)
        if seq is None:
            return None
        if seq not in self.seqs:
            assert seq > max(self.seqs, default=0)
            self.seqs.append(seq)
        return self.seqs.index(seq) + 1

    def read(self, after: int = 0, stream: str | None = None) -> list[Any]:
        numbers = [0, *self.seqs]
        known = self.journal.read(numbers[min(after, len(self.seqs))], stream)
        return [replace(entry, seq=self.seqs.index(entry.seq) + 1) for entry in known]

    def at_once(self, acts: list[Act], *, fails: bool) -> list[Any]:
        before, told = list(self.seqs), list[Any]()
        try:
            with self.journal.together():
                told += [act(self) for act in acts]
                if fails:
                    raise Nothing
        except Nothing:
            self.seqs = before
        return told


refs = st.builds(
    lambda block, fork, index, tx: ChainRef(block, f"{fork}{block}", index, tx),
    st.integers(1, 6),
    st.sampled_from("xy"),
    st.integers(0, 2),
    st.sampled_from([None, "0x7"]),
)
appends = st.builds(
    lambda *what: lambda both: both.append(*what),
    st.sampled_from(STREAMS),
    st.sampled_from(FACTS),
    st.floats(0, 2e9),
    st.none() | refs,
)
voids = st.builds(lambda block: lambda both: both.journal.void_above(block), st.integers(0, 6))
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
notes = st.one_of(
    st.builds(lambda key, value: lambda both: both.journal.note(key, value), texts, texts),
    st.builds(lambda key: lambda both: both.journal.noted(key), texts),
    st.builds(lambda key: lambda both: both.journal.forget(key), texts),
    st.builds(lambda prefix: lambda both: both.journal.notes(prefix), texts),
)
timings = st.builds(
    lambda stream, due, sent: lambda both: both.journal.timing("tell", stream, due, sent),
    st.sampled_from(STREAMS),
    st.floats(0, 2e9),
    st.integers(0, 9),
)
reads = st.builds(
    lambda after, stream: lambda both: both.read(after, stream),
    st.integers(0, 10),
    st.sampled_from((None, *STREAMS)),
)
single = appends | voids | notes | timings | reads


several = st.builds(
    lambda acts, fails: lambda both: both.at_once(acts, fails=fails),
    st.lists(appends | voids | reads, max_size=5),
    st.booleans(),
)


@contextmanager
def emptied(url: str):
    """A server's journal as new: to make a database for every example would take long."""
    with psycopg.connect(url) as db:
        db.execute("TRUNCATE facts, notes, timings RESTART IDENTITY")
    with closing(PostgresJournal[Fact](url, KINDS)) as journal:
        yield journal


def told_again() -> list[Act]:
    """A log, its block lost, what came after it, and the log in another block."""

    def log(block: int) -> Act:
        return lambda both: both.append("a", FACTS[0], block, ChainRef(block, f"x{block}", 0))

    def void(both: Numbered) -> Any:
        return both.journal.void_above(0)

    return [log(3), lambda both: both.append("a", FACTS[2], 3, None), void, log(4)]


@given(acts=st.lists(single | several, max_size=25))
@example(acts=[*told_again(), *told_again()])
@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_a_file_and_a_server_tell_the_same(ready_postgres: str, acts: list[Act]):
    with closing(Journal[Fact](":memory:", KINDS)) as one, emptied(ready_postgres) as other:
        file, server = Numbered(one), Numbered(other)
        for act in acts:
            assert act(server) == act(file)
        assert server.read() == file.read()
        assert other.notes("") == one.notes("")
        for stream in STREAMS:
            assert sorted(other.timings(stream)) == sorted(one.timings(stream))
