"""One wallet's book: in a file and on a server alike; and who may give nonces away there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Thread

import psycopg
import pytest
from postgres_lab import ready_postgres

from tallystick.chain.book import Book, Entry, State
from tallystick.chain.call import Call
from tallystick.chain.envelope import Price
from tallystick.chain.postgres_book import PostgresBook
from tallystick.engine.fence import Fence, Fenced
from tallystick.poco.values import Address, TaskId
from tallystick.scheduler.logs import LogBook
from tallystick.scheduler.postgres_logs import PostgresLogs
from tallystick.wire.scheduler import ComputeLogs

__all__ = ["ready_postgres"]

ME, YOU = Address(b"\1" * 20), Address(b"\2" * 20)
CHAIN = 31337
LEASE = "sender"


def call(number: int) -> Call:
    return Call(Address(b"\3" * 20), bytes([number]), f"call {number}", value=2**200)


def signed(number: int, tip: int | None = 2**130) -> Callable[[int], tuple[bytes, Price]]:
    return lambda nonce: (b"raw %d %d" % (number, nonce), Price(2**140, tip))


def reserve(book: Book, number: int, count: int = 0) -> Entry:
    entry, _ = book.reserve(
        call(number), signed(number), count=count, gas=21_000, cap=2**150, block=7
    )
    return entry


@pytest.fixture(params=["file", "server"])
def book(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Book]:
    if request.param == "file":
        opened = Book(tmp_path / "book.db", ME, CHAIN)
    else:
        opened = PostgresBook(request.getfixturevalue("ready_postgres"), ME, CHAIN)
    with closing(opened):
        yield opened


def test_the_same_call_has_one_nonce_and_another_call_the_next_free_one(book: Book):
    first, second = reserve(book, 1), reserve(book, 2)
    assert (first.nonce, second.nonce) == (0, 1)
    again, new = book.reserve(call(1), signed(1), count=5, gas=1, cap=1, block=1)
    assert (again, new) == (first, False)
    assert first.call == call(1)
    assert first.attempts[0].price == Price(2**140, 2**130)
    assert first.cap == 2**150
    assert book.waiting() == [first, second]
    book.give_up(first, "in vain")
    assert book.same(call(1)) is None
    assert not book.signed(call(1))
    assert reserve(book, 3).nonce == 0
    assert book.nonces(0) == {0, 1}


def test_every_form_of_a_transaction_is_kept_in_order(book: Book):
    entry = reserve(book, 1)
    dearer = book.replace(entry, b"raw dearer", Price(2**141, None), block=8)
    assert [form.raw for form in dearer.attempts] == [b"raw 1 0", b"raw dearer"]
    again = book.replace(dearer, b"raw 1 0", Price(1, 1), block=9)
    assert [form.raw for form in again.attempts] == [b"raw dearer", b"raw 1 0"]


def test_what_was_mined_waits_again_when_the_chain_forgot_it(book: Book):
    first, second = reserve(book, 1), reserve(book, 2)
    book.mined(first, {"status": "0x1"})
    book.mined(second, {"status": "0x1"})
    assert (book.last_mined(), book.last_nonce()) == (1, 1)
    assert book.entry(first.id).receipt == {"status": "0x1"}
    assert book.forgotten(1) == 1
    assert [entry.id for entry in book.waiting()] == [second.id]
    assert book.entry(second.id).receipt is None


def test_what_was_paid_for_gas_is_the_sum_of_what_is_mined(book: Book):
    first, second = reserve(book, 1), reserve(book, 2)
    assert book.spent() == 0
    book.mined(second, {"gasUsed": "0x5208", "effectiveGasPrice": "0x3b9aca00"})
    assert book.spent() == 21_000 * 10**9
    book.mined(first, {"gasUsed": "0x10", "effectiveGasPrice": "0x2"})
    assert book.spent() == 21_000 * 10**9 + 32
    book.forgotten(1)
    assert book.spent() == 32
    book.mined(book.waiting()[0], {"gasUsed": "0x1", "effectiveGasPrice": "0x1"})
    assert book.spent() == 33


def test_a_lost_nonce_is_left_for_another(book: Book):
    entry = reserve(book, 1)
    moved = book.move(entry, signed(1), count=4, block=9, reason="usurped")
    assert (moved.nonce, moved.call) == (4, entry.call)
    assert book.entry(entry.id) == moved
    assert moved.state is State.WAITING


def test_a_signature_that_fails_leaves_nothing(book: Book):
    def broken(nonce: int) -> tuple[bytes, Price]:
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        book.reserve(call(1), broken, count=0, gas=1, cap=1, block=1)
    assert book.waiting() == []
    assert book.last_nonce() == -1
    assert reserve(book, 1).nonce == 0


# --- on a server --------------------------------------------------------------------------


def take(url: str, holder: str, seconds: int = 3_600) -> Fence:
    with psycopg.connect(url) as db:
        (row,) = db.execute(
            "INSERT INTO lease (name, holder, epoch, until)"
            " VALUES (%s, %s, 1, now() + make_interval(secs => %s))"
            " ON CONFLICT (name) DO UPDATE SET epoch = lease.epoch + 1,"
            " holder = excluded.holder, until = excluded.until RETURNING epoch",
            (LEASE, holder, seconds),
        )
    return Fence(-1, row[0], holder)


def test_wallets_and_chains_do_not_see_each_other(ready_postgres: str):
    with (
        closing(PostgresBook(ready_postgres, ME, CHAIN)) as mine,
        closing(PostgresBook(ready_postgres, YOU, CHAIN)) as yours,
        closing(PostgresBook(ready_postgres, ME, 1)) as elsewhere,
    ):
        for book in (mine, yours, elsewhere):
            assert book.last_nonce() == -1
            entry = reserve(book, (book is yours and 2) or (book is elsewhere and 3) or 1)
            assert entry.nonce == 0
        mine.mined(mine.waiting()[0], {})
        assert yours.forgotten(0) == 0
        assert len(yours.waiting()) == len(elsewhere.waiting()) == 1


def test_who_lost_the_lease_reserves_no_nonce(ready_postgres: str):
    mine = take(ready_postgres, "me")
    right = [mine]
    with closing(
        PostgresBook(ready_postgres, ME, CHAIN, lease=LEASE, right=lambda: right[0])
    ) as book:
        entry = reserve(book, 1)
        take(ready_postgres, "another")
        with pytest.raises(Fenced):
            reserve(book, 2)
        with pytest.raises(Fenced):
            book.mined(entry, {})
        right[0] = replace(mine, epoch=mine.epoch + 1)
        with pytest.raises(Fenced):
            reserve(book, 2)
        right[0] = take(ready_postgres, "me")
        assert reserve(book, 2).nonce == 1
        right[0] = take(ready_postgres, "me", seconds=-1)
        with pytest.raises(Fenced):
            reserve(book, 3)
    assert book_of(ready_postgres) == [0, 1]


def test_several_that_reserve_at_once_get_nonces_of_their_own(ready_postgres: str):
    def work(first: int) -> None:
        with closing(PostgresBook(ready_postgres, ME, CHAIN)) as book:
            for number in range(first, first + 10):
                reserve(book, number)

    threads = [Thread(target=work, args=(first,)) for first in (0, 10, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert book_of(ready_postgres) == list(range(30))


def book_of(url: str) -> list[int]:
    with closing(PostgresBook(url, ME, CHAIN)) as book:
        return [entry.nonce for entry in book.waiting()]


# --- logs ---------------------------------------------------------------------------------


@pytest.fixture(params=["file", "server"])
def logs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LogBook]:
    if request.param == "file":
        opened = LogBook(tmp_path / "logs.db")
    else:
        opened = PostgresLogs(request.getfixturevalue("ready_postgres"))
    with closing(opened):
        yield opened


def test_what_an_app_printed_is_given_back_as_it_was(logs: LogBook):
    task = TaskId(b"\7" * 32)
    printed = ComputeLogs(wallet_address=ME, stdout="é\0\n" + "x" * 200_000, stderr="oh\0")
    logs.write(task, ME, replace_text(printed, "first"))
    logs.write(task, YOU, printed)
    logs.write(task, ME, printed)
    (yours, mine) = logs.of(task)
    assert (yours.wallet_address, mine.wallet_address) == (YOU, ME)
    assert mine.stdout == "x" * 100_000
    assert mine.stderr == "oh\0"
    assert logs.of(task, YOU) == (yours,)
    assert logs.of(TaskId(b"\6" * 32)) == ()


def replace_text(logs: ComputeLogs, text: str) -> ComputeLogs:
    return ComputeLogs(wallet_address=logs.wallet_address, stdout=text, stderr=text)
