"""A server that takes connections and answers nothing: who asks is held up once, and not again.

The kernel goes on to confirm what is sent to a stopped server, so no timeout of TCP helps.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import get_args

import pytest
from postgres_lab import Server, why_not

from tallystick.engine import postgres_reach
from tallystick.engine.databases import DatabaseGone
from tallystick.engine.journal import ChainRef
from tallystick.engine.postgres import PostgresJournal
from tallystick.engine.postgres_link import Link
from tallystick.engine.postgres_reach import Impatient
from tallystick.lifecycle.facts import Fact, Initialized

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    if reason := why_not():
        pytest.skip(reason)
    with Server() as server:
        yield server


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second is enough to see that nothing comes, and long enough to be seen as a hang."""
    monkeypatch.setattr(Impatient, "patience", postgres_reach.SLOW)


def until_it_answers(link: Link) -> None:
    ends = time.monotonic() + 60
    while link.hangs:
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_what_was_under_way_when_the_server_hung_counts_as_not_written(own_server: Server):
    url = own_server.ready_database()
    journal = PostgresJournal[Fact](url, get_args(Fact))
    journal.append("a", Initialized(), at=1, ref=ChainRef(5, "0xa5", 0))
    with own_server.frozen():
        assert journal.trouble is None
        for _ in range(2):
            with pytest.raises(DatabaseGone):
                journal.append("b", Initialized(), at=2, ref=ChainRef(6, "0xa6", 0))
        assert journal.trouble
    until_it_answers(journal._link)
    assert [entry.stream for entry in journal.read()] == ["a"]
    journal.append("b", Initialized(), at=3, ref=ChainRef(6, "0xa6", 0))
    assert [(entry.stream, entry.at) for entry in journal.read()] == [("a", 1), ("b", 3)]
    assert journal.trouble is None
    journal.close()


def test_no_connection_waits_for_what_another_found_out(
    own_server: Server, monkeypatch: pytest.MonkeyPatch
):
    url = own_server.ready_database()
    one, two = Link(url), Link(url)
    with own_server.frozen():
        with pytest.raises(DatabaseGone):
            one.rows("SELECT 1")
        monkeypatch.setattr(
            Impatient, "patience", 3_600.0
        )  # who asks the server waits for ever
        for link in (one, two):
            with pytest.raises(DatabaseGone, match="does not answer"):
                link.rows("SELECT 1")
        monkeypatch.setattr(Impatient, "patience", postgres_reach.SLOW)
    until_it_answers(one)
    for link in (one, two):
        assert link.rows("SELECT 1") == [(1,)]
        link.close()


def test_a_server_that_ends_is_asked_again_at_once(own_server: Server):
    """It says that it is not there, so nobody is held up by asking."""
    link = Link(own_server.ready_database())
    own_server.stop()
    with pytest.raises(DatabaseGone):
        link.rows("SELECT 1")
    assert not link.hangs
    own_server.start()
    assert link.rows("SELECT 1") == [(1,)]
    link.close()
