"""The journal on a server that goes away, and on one that others write to as well."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, get_args

import psycopg
import pytest
from cutting_proxy import CuttingProxy
from postgres_lab import Server, postgres_server, ready_postgres, why_not

from tallystick.engine.errors import DiskTrouble
from tallystick.engine.fence import SHARDS, Fence, Fenced, shard_of
from tallystick.engine.journal import ChainRef, NewerJournal
from tallystick.engine.postgres import PostgresJournal
from tallystick.engine.postgres_link import Link, shown
from tallystick.engine.postgres_schema import migrate
from tallystick.lifecycle.facts import Fact, Initialized, Lost, Started
from tallystick.poco.values import Address

__all__ = ["postgres_server", "ready_postgres"]

KINDS = get_args(Fact)
ME = Address(b"\1" * 20)


@contextmanager
def opened(url: str, fences: Rights | None = None) -> Iterator[PostgresJournal[Fact]]:
    with closing(PostgresJournal[Fact](url, KINDS, fences)) as journal:
        yield journal


def told(url: str) -> list[tuple[str, Fact]]:
    with opened(url) as journal:
        return [(entry.stream, entry.fact) for entry in journal.read()]


class Rights:
    """The shards that a process believes to own."""

    def __init__(self, url: str, holder: str, *shards: int) -> None:
        self._url, self._holder = url, holder
        self.fences = {shard: self.take(shard) for shard in shards}

    def of(self, shard: int) -> Fence:
        return self.fences[shard]

    def held(self) -> list[Fence]:
        return list(self.fences.values())

    def life(self) -> Fence:
        raise Fenced("not of this test")

    def take(self, shard: int, seconds: int = 3_600) -> Fence:
        with psycopg.connect(self._url) as db:
            (row,) = db.execute(
                "UPDATE shard SET epoch = epoch + 1, holder = %s,"
                " until = now() + make_interval(secs => %s) WHERE number = %s RETURNING epoch",
                (self._holder, seconds, shard),
            )
        return Fence(shard, row[0], self._holder)


# --- a server that goes away --------------------------------------------------------------


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    if reason := why_not():
        pytest.skip(reason)
    with Server() as server:
        yield server


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["ended", "crashed"])
def test_while_the_server_is_away_nothing_is_accepted_and_afterwards_everything(
    own_server: Server, how: signal.Signals
):
    url = own_server.ready_database()
    with opened(url) as journal:
        journal.append("a", Initialized(), at=1)
        own_server.stop(how)
        for _ in range(2):
            with pytest.raises(DiskTrouble, match="does not do its work"):
                journal.append("a", Started(ME), at=2)
        assert journal.trouble is not None
        with pytest.raises(DiskTrouble):
            list(journal.read())
        own_server.start()
        journal.append("a", Lost(ME), at=3)
        assert journal.trouble is None
    assert told(url) == [("a", Initialized()), ("a", Lost(ME))]


def test_a_server_that_was_restarted_meanwhile_is_not_even_noticed(own_server: Server):
    url = own_server.ready_database()
    with opened(url) as journal:
        journal.append("a", Initialized(), at=1)
        own_server.stop()
        own_server.start()
        assert journal.append("a", Started(ME), at=2) == 2
        own_server.stop()
        own_server.start()
        assert journal.noted("nothing") is None


@pytest.fixture
def proxy(postgres_server: Server, tmp_path: Path) -> Iterator[CuttingProxy]:
    with closing(CuttingProxy(postgres_server.folder, tmp_path)) as proxy:
        yield proxy


@pytest.fixture
def through(proxy: CuttingProxy, ready_postgres: str, tmp_path: Path) -> str:
    """The database, by way of the proxy."""
    return f"{ready_postgres.partition('?')[0]}?host={tmp_path}"


def test_a_fact_whose_confirmation_was_lost_is_written_once(
    ready_postgres: str, through: str, proxy: CuttingProxy
):
    with opened(through) as journal:
        first = journal.append("a", Initialized(), at=1)
        proxy.lose_next_answer(then_away=False)
        second = journal.append("a", Started(ME), at=2)
        assert (first, second) == (1, 2)
    assert told(ready_postgres) == [("a", Initialized()), ("a", Started(ME))]


def test_what_was_reported_as_not_written_will_not_have_been(
    ready_postgres: str, through: str, proxy: CuttingProxy
):
    with opened(through) as journal:
        journal.append("a", Initialized(), at=1)
        proxy.lose_next_answer(then_away=True)
        with pytest.raises(DiskTrouble):
            journal.append("a", Started(ME), at=2)
        assert told(ready_postgres)[1:] == [("a", Started(ME))], "the server did write it"
        proxy.refusing = False
        assert [entry.fact for entry in journal.read()] == [Initialized()]
        journal.append("a", Started(ME), at=2)
    assert told(ready_postgres) == [("a", Initialized()), ("a", Started(ME))]


def test_what_the_chain_told_again_is_taken_back_in_the_same_way(
    ready_postgres: str, through: str, proxy: CuttingProxy
):
    with opened(through) as journal:
        journal.append("a", Initialized(), at=1, ref=ChainRef(5, "0xa5", 0))
        journal.append("a", Started(ME), at=2)
        journal.void_above(4)
        proxy.lose_next_answer(then_away=True)
        with pytest.raises(DiskTrouble):
            journal.append("a", Initialized(), at=3, ref=ChainRef(6, "0xb6", 0))
        proxy.refusing = False
        assert [entry.fact for entry in journal.read()] == [Started(ME)]
        assert journal.append("a", Initialized(), at=4, ref=ChainRef(6, "0xb6", 0)) == 1


@pytest.mark.parametrize("away", [False, True])
def test_several_facts_of_one_commit_are_all_there_or_none(
    ready_postgres: str, through: str, proxy: CuttingProxy, away: bool
):
    with opened(through) as journal:

        def two() -> None:
            with journal.together():
                journal.append("a", Initialized(), at=1)
                journal.append("b", Initialized(), at=1)
                assert len(list(journal.read())) == 2, "for us they are there"
                assert told(ready_postgres) == []
                proxy.lose_next_answer(then_away=away)

        if away:
            with pytest.raises(DiskTrouble):
                two()
            assert len(told(ready_postgres)) == 2, "the server did write them"
            proxy.refusing = False
            assert list(journal.read()) == []
        else:
            two()
            assert len(told(ready_postgres)) == 2


def test_facts_of_one_commit_go_to_the_server_together(
    ready_postgres: str, monkeypatch: pytest.MonkeyPatch
):
    asked, rows = [], Link.rows

    def noted(self: Link, statement: Any, values: Any = ()) -> Any:
        asked.append(statement)
        return rows(self, statement, values)

    rights = Rights(ready_postgres, "me", *range(SHARDS))
    with opened(ready_postgres, rights) as journal:
        monkeypatch.setattr(Link, "rows", noted)
        with journal.together():
            for number in range(60):
                journal.append(f"stream {number}", Initialized(), at=number)
                journal.timing("assign", f"stream {number}", 1, 2)
        assert len(asked) == 2, "numbers, and facts with what was timed"
        assert len(journal.timings("stream 7")) == 1
    assert told(ready_postgres) == [(f"stream {n}", Initialized()) for n in range(60)]


def test_what_the_chain_tells_in_between_keeps_its_place(ready_postgres: str):
    with opened(ready_postgres) as journal:
        with journal.together():
            numbers = [journal.append("a", Initialized(), at=1, ref=ChainRef(5, "0xa5", 0))]
            numbers += [journal.append("a", Started(ME), at=at) for at in range(100)]
            numbers += [journal.append("a", Initialized(), at=1, ref=ChainRef(6, "0xa6", 0))]
            numbers += [journal.append("a", Started(ME), at=101)]
        assert [entry.seq for entry in journal.read()] == numbers == sorted(numbers)
        assert len(numbers) == 103


def test_in_one_commit_too_only_ours_is_written(ready_postgres: str):
    mine = Rights(ready_postgres, "me", shard_of("a"), shard_of("b"))
    assert shard_of("a") != shard_of("b")
    with opened(ready_postgres, mine) as journal:
        Rights(ready_postgres, "another", shard_of("b"))
        with journal.together():
            journal.append("a", Initialized(), at=1)
            with pytest.raises(Fenced, match="b belongs to another process now"):
                journal.append("b", Initialized(), at=1)
            journal.append("a", Started(ME), at=2)
    assert told(ready_postgres) == [("a", Initialized()), ("a", Started(ME))]


def test_a_connection_lost_half_way_takes_the_whole_commit_with_it(
    ready_postgres: str, through: str, proxy: CuttingProxy
):
    with opened(through) as journal:

        def two() -> None:
            with journal.together():
                journal.append("a", Initialized(), at=1)
                proxy.lose_next_answer(then_away=False)
                journal.append("b", Initialized(), at=1)

        with pytest.raises(DiskTrouble):
            two()
        journal.append("c", Initialized(), at=2)
    assert told(ready_postgres) == [("c", Initialized())]


def test_a_process_that_was_stopped_half_way_holds_up_nobody(ready_postgres: str):
    """The server ends its session, and with it the locks; it finds out when it goes on."""
    shard = shard_of("a")
    hasty = f"{ready_postgres}&options=-c%20idle_in_transaction_session_timeout%3D1s"
    with opened(hasty, Rights(ready_postgres, "me", shard)) as journal:

        def stopped() -> None:
            with journal.together():
                journal.append("a", Initialized(), at=1)
                Rights(ready_postgres, "another", shard)  # waits for the lock
                journal.append("a", Started(ME), at=2)

        with pytest.raises(DiskTrouble):
            stopped()
        with pytest.raises(Fenced):
            journal.append("a", Initialized(), at=3)
    assert told(ready_postgres) == []


def test_streams_of_a_reorg_whose_answer_was_lost_are_told_when_asked_again(
    ready_postgres: str, through: str, proxy: CuttingProxy
):
    with opened(through) as journal:
        journal.append("a", Initialized(), at=1, ref=ChainRef(5, "0xa5", 0))
        proxy.lose_next_answer(then_away=True)
        with pytest.raises(DiskTrouble):
            journal.void_above(4)
        proxy.refusing = False
        assert journal.void_above(4) == ("a",)
        assert journal.void_above(4) == ()


# --- a server that others write to --------------------------------------------------------


def test_who_lost_its_shard_can_write_nothing(ready_postgres: str):
    mine = Rights(ready_postgres, "me", shard_of("a"))
    with opened(ready_postgres, mine) as journal:
        assert journal.append("a", Initialized(), at=1, ref=ChainRef(5, "0xa5", 0)) == 1
        Rights(ready_postgres, "another", shard_of("a"))
        with pytest.raises(Fenced, match="a belongs to another process now"):
            journal.append("a", Started(ME), at=2)
        with pytest.raises(Fenced):
            journal.append("a", Initialized(), at=2, ref=ChainRef(6, "0xa6", 0))
        assert journal.void_above(0) == ()
        journal.timing("tell", "a", 1, 2)
        with pytest.raises(Fenced):
            journal.append("a", Started(ME), at=2)
    assert told(ready_postgres) == [("a", Initialized())]


def test_a_shard_taken_again_by_its_former_owner_has_another_epoch(ready_postgres: str):
    shard = shard_of("a")
    mine = Rights(ready_postgres, "me", shard)
    with opened(ready_postgres, mine) as journal:
        Rights(ready_postgres, "me", shard)
        with pytest.raises(Fenced):
            journal.append("a", Initialized(), at=1)


def test_a_lease_that_ran_out_is_none_even_if_nobody_took_it(ready_postgres: str):
    mine = Rights(ready_postgres, "me", shard_of("a"))
    mine.fences[shard_of("a")] = mine.take(shard_of("a"), seconds=-1)
    with opened(ready_postgres, mine) as journal, pytest.raises(Fenced):
        journal.append("a", Initialized(), at=1)


def test_nobody_takes_a_shard_between_the_look_and_the_write(ready_postgres: str):
    mine = Rights(ready_postgres, "me", shard_of("a"))
    with opened(ready_postgres, mine) as journal, psycopg.connect(ready_postgres) as taker:
        taker.execute("SET lock_timeout = '50ms'")
        taker.commit()
        with journal.together():
            journal.append("a", Initialized(), at=1)
            with pytest.raises(psycopg.errors.LockNotAvailable):
                taker.execute(
                    "UPDATE shard SET epoch = epoch + 1 WHERE number = %s", (shard_of("a"),)
                )
        taker.rollback()
        taker.execute("UPDATE shard SET epoch = epoch + 1 WHERE number = %s", (shard_of("a"),))


def test_a_reorg_concerns_the_streams_of_its_own_shards(ready_postgres: str):
    names = [f"stream {number}" for number in range(20)]
    shards = {shard_of(name) for name in names}
    first, rest = shards & {shard_of(names[0])}, shards - {shard_of(names[0])}
    everything = Rights(ready_postgres, "before", *shards)
    with opened(ready_postgres, everything) as journal:
        for name in names:
            journal.append(name, Initialized(), at=1, ref=ChainRef(5, "0xa5", 0))
    mine, others = Rights(ready_postgres, "me", *first), Rights(ready_postgres, "you", *rest)
    with opened(ready_postgres, mine) as journal:
        voided = journal.void_above(4)
        assert voided == tuple(sorted(n for n in names if shard_of(n) in first))
        assert {e.stream for e in journal.read(shards=rest)} == set(names) - set(voided)
        assert list(journal.read(shards=first)) == []
    with opened(ready_postgres, others) as journal:
        assert journal.void_above(4) == tuple(sorted(set(names) - set(voided)))


def test_a_fact_of_a_later_version_is_told_in_a_sentence(ready_postgres: str):
    with opened(ready_postgres) as journal:
        journal.append("a", Initialized(), at=1)
        with psycopg.connect(ready_postgres) as db:
            db.execute("UPDATE facts SET kind = 'Teleported'")
        with pytest.raises(NewerJournal, match="'Teleported', which this version does not"):
            list(journal.read())


def test_more_facts_than_a_page_are_read_in_order(ready_postgres: str):
    with psycopg.connect(ready_postgres) as db:
        db.execute(
            "INSERT INTO facts (shard, stream, kind, body, at)"
            " SELECT n % 64, 's' || n % 10, 'Initialized', '{}', n"
            " FROM generate_series(1, 4500) AS n"
        )
    with opened(ready_postgres) as journal:
        assert [entry.seq for entry in journal.read()] == list(range(1, 4_501))
        assert [entry.seq for entry in journal.read(4_000, "s3")] == list(
            range(4_003, 4_500, 10)
        )


def test_a_password_is_shown_to_nobody(own_server: Server):
    own_server.sql("CREATE ROLE keeper LOGIN PASSWORD 'hush' SUPERUSER")
    hba = own_server.folder / "data" / "pg_hba.conf"
    hba.write_text("local all keeper scram-sha-256\n" + hba.read_text())
    own_server.stop()
    own_server.start()
    place = own_server.url("postgres").replace("tally@", "keeper:wrong%20hush@")
    with pytest.raises(DiskTrouble) as trouble:
        migrate(place)
    assert "hush" not in str(trouble.value)
    assert "hush" not in shown(place)
    with pytest.raises(DiskTrouble) as trouble:
        PostgresJournal[Fact](place, KINDS)
    assert "hush" not in str(trouble.value)
