"""A pool moves from files to a server and back, and every row arrives."""

from __future__ import annotations

import gzip
import json
from contextlib import closing
from pathlib import Path
from typing import Any, get_args

import psycopg
import pytest
from postgres_lab import ready_postgres

from tallystick.chain.book import Book
from tallystick.chain.call import Call
from tallystick.chain.envelope import Price
from tallystick.chain.follow import NoteCursor
from tallystick.chain.postgres_book import PostgresBook
from tallystick.engine.errors import Refused
from tallystick.engine.journal import ChainRef, Journal
from tallystick.engine.postgres import PostgresJournal
from tallystick.lifecycle.facts import Fact, Initialized, Lost, Ordered, Started
from tallystick.poco.deal import Deal
from tallystick.poco.values import Address, DealId, Hash, TaskId
from tallystick.scheduler.logs import LogBook
from tallystick.scheduler.postgres_logs import PostgresLogs
from tallystick.scheduler.transfer import (
    FORMAT,
    TABLES,
    NotAnExport,
    NotEmpty,
    Store,
    export,
    take_over,
)
from tallystick.scheduler.transfer_files import FolderStore
from tallystick.scheduler.transfer_postgres import DatabaseStore
from tallystick.wire.scheduler import ComputeLogs

__all__ = ["ready_postgres"]

KINDS = get_args(Fact)
ME = Address(b"\1" * 20)
CHAIN = 31337
DEAL = Deal(DealId(bytes(32)), start=0, time_unit=36_000, trust=1)


def live(journal: Any, logs: LogBook, book: Book) -> None:
    """Something of every kind: facts void and told again, notes, timings, transactions."""
    task = str(DEAL.task_id(0))
    journal.append(task, Ordered(DEAL, 0), at=1.1, ref=ChainRef(5, "0xa5", 0, "0x77"))
    journal.append(task, Initialized(), at=2, ref=ChainRef(6, "0xa6", 1))
    journal.append("ünï", Started(ME), at=0.1 + 0.2)
    journal.timing("tell", task, 1 / 3, 2 / 3)
    journal.timing("assign", "ünï", 5, 6)
    journal.void_above(5)
    journal.append(task, Initialized(), at=3, ref=ChainRef(7, "0xb7", 1))
    journal.append(task, Lost(ME), at=4, ref=ChainRef(8, "0xb8", 0))
    journal.void_above(7)
    NoteCursor(journal).save(blocks(4, 5))
    journal.note("a key", "välue\n")
    logs.write(TaskId(b"\7" * 32), ME, ComputeLogs(wallet_address=ME, stdout="\0é", stderr=""))

    def sign(nonce: int) -> tuple[bytes, Price]:
        return b"raw %d" % nonce, Price(2**100, None)

    first, _ = book.reserve(
        Call(ME, b"\0\xff", "one", 2**99), sign, count=3, gas=5, cap=2**120, block=7
    )
    book.mined(first, {"status": "0x1"})
    second, _ = book.reserve(Call(ME, b"2", "two"), sign, count=3, gas=5, cap=9, block=8)
    second = book.replace(second, b"dearer", Price(2**101, 1), block=9)
    book.move(second, lambda nonce: (b"moved", Price(1, 1)), count=9, block=9, reason="gone")


def blocks(*numbers: int) -> list[tuple[int, Hash]]:
    return [(number, Hash(bytes([number]) * 32)) for number in numbers]


def told(cursor: list[tuple[int, Hash]]) -> str:
    return json.dumps([(number, str(block)) for number, block in cursor])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "pool"
    place.mkdir()
    with (
        closing(Journal[Fact](place / "journal.db", KINDS)) as journal,
        closing(LogBook(place / "logs.db")) as logs,
        closing(Book(place / "transactions.db", ME, CHAIN)) as book,
    ):
        live(journal, logs, book)
    return place


def everything(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    kept: dict[str, list[tuple[Any, ...]]] = {table: [] for table in TABLES}
    for table, row in store.rows():
        kept[table].append(row)
    kept["notes"].sort()
    return kept


def test_every_row_survives_the_way_to_a_server_and_back(
    folder: Path, ready_postgres: str, tmp_path: Path
):
    before = everything(FolderStore(folder))
    assert all(before.values()), "there is a row in every table"
    assert {row[-1] for row in before["facts"]} == {0, 1}
    counted = export(FolderStore(folder), tmp_path / "there.gz")
    assert take_over(tmp_path / "there.gz", DatabaseStore(ready_postgres)) == counted
    assert everything(DatabaseStore(ready_postgres)) == before

    export(DatabaseStore(ready_postgres), tmp_path / "back.gz")
    take_over(tmp_path / "back.gz", FolderStore(tmp_path / "again"))
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == [
        "journal.db",
        "logs.db",
        "transactions.db",
    ]
    assert everything(FolderStore(tmp_path / "again")) == before


def test_what_moved_lives_on(folder: Path, ready_postgres: str, tmp_path: Path):
    export(FolderStore(folder), tmp_path / "there.gz")
    take_over(tmp_path / "there.gz", DatabaseStore(ready_postgres))
    with (
        closing(Journal[Fact](folder / "journal.db", KINDS)) as here,
        closing(PostgresJournal[Fact](ready_postgres, KINDS)) as there,
    ):
        assert list(there.read()) == list(here.read())
        assert there.append("new", Initialized(), at=9) == here.append(
            "new", Initialized(), at=9
        )
    with closing(PostgresBook(ready_postgres, ME, CHAIN)) as book:
        assert [entry.nonce for entry in book.waiting()] == [9]
        sign = lambda nonce: (b"next", Price(1, 1))  # noqa: E731
        entry, _ = book.reserve(Call(ME, b"3", "three"), sign, count=9, gas=1, cap=1, block=1)
        assert entry.nonce == 10
    with psycopg.connect(ready_postgres) as db:
        cursors = db.execute("SELECT DISTINCT cursor FROM shard").fetchall()
    assert [json.loads(text) for (text,) in cursors] == [
        [[number, str(block)] for number, block in blocks(4, 5)]
    ]


def test_a_pool_born_on_a_server_fits_into_files(ready_postgres: str, tmp_path: Path):
    with (
        closing(PostgresJournal[Fact](ready_postgres, KINDS)) as journal,
        closing(PostgresLogs(ready_postgres)) as logs,
        closing(PostgresBook(ready_postgres, ME, CHAIN)) as book,
    ):
        live(journal, logs, book)
    with psycopg.connect(ready_postgres) as db:  # the first shard is behind the others
        db.execute("UPDATE shard SET cursor = %s", (told(blocks(9)),))
        db.execute("UPDATE shard SET cursor = %s WHERE number = 0", (told(blocks(8)),))
    before = everything(DatabaseStore(ready_postgres))
    export(DatabaseStore(ready_postgres), tmp_path / "file.gz")
    take_over(tmp_path / "file.gz", FolderStore(tmp_path / "pool"))
    assert everything(FolderStore(tmp_path / "pool")) == before
    with closing(Journal[Fact](tmp_path / "pool" / "journal.db", KINDS)) as journal:
        assert NoteCursor(journal).load() == blocks(8)


def test_where_a_pool_is_there_comes_no_other(
    folder: Path, ready_postgres: str, tmp_path: Path
):
    export(FolderStore(folder), tmp_path / "file.gz")
    with pytest.raises(NotEmpty, match="choose another name"):
        export(FolderStore(folder), tmp_path / "file.gz")
    with pytest.raises(NotEmpty, match="choose an empty folder"):
        take_over(tmp_path / "file.gz", FolderStore(folder))
    take_over(tmp_path / "file.gz", DatabaseStore(ready_postgres))
    with pytest.raises(NotEmpty, match="choose an empty database"):
        take_over(tmp_path / "file.gz", DatabaseStore(ready_postgres))


def test_a_database_whose_schedulers_run_is_left_alone(ready_postgres: str):
    with psycopg.connect(ready_postgres) as db:
        db.execute("INSERT INTO process (id, url) VALUES ('one', 'http://127.0.0.1:1')")
    with pytest.raises(Refused, match="stop them"):
        DatabaseStore(ready_postgres)


@pytest.mark.parametrize("harm", ["cut", "a row less", "newer", "something else", "flipped"])
def test_a_damaged_file_changes_nothing(
    folder: Path, ready_postgres: str, tmp_path: Path, harm: str
):
    file = tmp_path / "file.gz"
    export(FolderStore(folder), file)
    lines = gzip.decompress(file.read_bytes()).splitlines(keepends=True)
    data = {
        "cut": file.read_bytes()[:-20],
        "a row less": gzip.compress(b"".join(lines[:3] + lines[4:])),
        "newer": gzip.compress(json.dumps(["tallystick pool", FORMAT + 1]).encode()),
        "something else": b"hello",
        "flipped": gzip.compress(b"".join(lines).replace(b'["notes"', b'["nodes"')),
    }[harm]
    file.write_bytes(data)
    for store in (DatabaseStore(ready_postgres), FolderStore(tmp_path / "new")):
        with pytest.raises(NotAnExport):
            take_over(file, store)
        assert not any(everything(store).values())


def test_files_have_room_for_one_wallet(ready_postgres: str, tmp_path: Path):
    for seed in (1, 2):
        with closing(PostgresBook(ready_postgres, Address(bytes([seed]) * 20), CHAIN)) as book:
            book.reserve(
                Call(ME, b"", "pay"),
                lambda nonce, seed=seed: (b"raw %d" % seed, Price(1, 1)),
                count=0,
                gas=1,
                cap=1,
                block=1,
            )
    export(DatabaseStore(ready_postgres), tmp_path / "file.gz")
    with pytest.raises(Refused, match="2 wallets"):
        take_over(tmp_path / "file.gz", FolderStore(tmp_path / "pool"))
    assert list((tmp_path / "pool").iterdir()) == []
