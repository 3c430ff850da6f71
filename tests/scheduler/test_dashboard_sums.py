"""What the pages add up: replicates, money and times, also when a reorg takes some back."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from scheduler_office import Office, ref

from tallystick.engine.errors import Unavailable
from tallystick.engine.journal import Entry
from tallystick.lifecycle.facts import (
    Assigned,
    Claimed,
    Completed,
    ConsensusReached,
    Contributed,
    Fact,
    Finalized,
    Initialized,
    Lost,
    Revealed,
)
from tallystick.poco.values import Address, Digest, Hash, TaskId
from tallystick.scheduler.dashboard.board import Board, Outcome
from tallystick.scheduler.dashboard.past import Past, by_minute, speed, times_by_minute
from tallystick.scheduler.dashboard.standings import Standings
from tallystick.scheduler.money import TaskMoney
from tallystick.scheduler.money_book import MoneyBook

pytestmark = pytest.mark.anyio

GOOD, BAD = Hash(b"\x01" * 32), Hash(b"\x02" * 32)
A, B, C = (Address(bytes([n]) * 20) for n in (1, 2, 3))


def settle(office: Office, task: TaskId) -> None:
    """A and B vote alike, C otherwise; A and B are paid."""
    told: list[tuple[Fact, int]] = [
        *((Assigned(worker, 2), 0) for worker in (A, B, C)),
        *((Contributed(worker, GOOD, 2), 3) for worker in (A, B)),
        (Contributed(C, BAD, 2), 3),
        (ConsensusReached(GOOD, 2_000_000_000), 4),
        *((Revealed(worker, Digest(bytes(32))), 5) for worker in (A, B)),
    ]
    for index, (fact, block) in enumerate(told):
        where = ref(block, index) if block else None
        office.pool.engine.record(str(task), fact, where)


async def test_outcomes_and_money_follow_the_chain_and_its_reorgs(office: Office):
    book = MoneyBook(
        journal=office.journal,
        hub=office.hub,
        wallet=office.chain.scheduler.address,
        tasks=office.pool.engine.states,
    )
    board = Board(office.pool)
    board.know(book)
    task = office.buy(1, trust=4)
    office.open(task)
    settle(office, task)
    await board.refresh()
    assert board.record(str(A)).outcomes[Outcome.RUNNING] == 1
    assert board.record(str(A)).votes == 1
    assert board.record(str(A)).rate is None
    for index, fact in enumerate((Finalized(), Completed(A), Completed(B))):
        where = ref(6, 50) if index == 0 else None
        office.pool.engine.record(str(task), fact, where)
    book._take(
        str(task),
        TaskMoney(
            task=str(task),
            deal="d",
            completed=True,
            reward=1,
            gas=7,
            paid={str(A): 5, str(B): 4},
            forfeited={str(C): 3},
        ),
    )
    await board.refresh()
    assert board.statuses["COMPLETED"] == 1
    assert [board.record(str(w)).outcomes for w in (A, C)] == [
        {Outcome.RUNNING: 0, Outcome.COMPLETED: 1},
        {Outcome.RUNNING: 0, Outcome.OUTVOTED: 1},
    ]
    assert (board.record(str(A)).rate, board.record(str(C)).rate) == (1.0, 0.0)
    assert (board.paid, board.kept, board.gas, board.settled) == (9, 1, 7, 1)
    assert (board.record(str(A)).paid, board.record(str(C)).forfeited) == (5, 3)
    office.pool.engine.roll_back(5)
    await board.refresh()
    assert (board.paid, board.kept, board.gas, board.settled) == (0, 0, 0, 0)
    assert board.statuses["COMPLETED"] == 0
    assert board.record(str(A)).paid == 0


async def test_a_lost_worker_counts_until_it_is_back(office: Office):
    board, task = Board(office.pool), office.buy(1)
    office.open(task)
    office.pool.engine.record(str(task), Assigned(A, 2))
    office.pool.engine.record(str(task), Lost(A))
    await board.refresh()
    record = board.record(str(A))
    assert (record.outcomes[Outcome.LOST], record.causes["WORKER_LOST"]) == (1, 1)
    assert list(record.tasks) == [str(task)]
    office.pool.engine.record(str(task), Contributed(A, GOOD, 2), ref(3, 1))
    await board.refresh()
    record = board.record(str(A))
    assert (record.outcomes[Outcome.RUNNING], record.causes["WORKER_LOST"]) == (1, 0)


def entry(stream: str, fact: Fact, at: float) -> Entry[Fact]:
    return Entry(0, stream, fact, at)


async def test_speed_is_that_of_the_last_hour():
    now = 1_000_000.0
    past = Past(clock=lambda: now)
    told = []
    for number in range(10):
        took = 10.0 * (number + 1)
        told.append(entry(f"t{number}", Initialized(), now - 300 - took))
        told.append(entry(f"t{number}", Finalized(), now - 300 + number))
    told += [
        entry("old", Initialized(), now - 9_000),
        entry("old", Finalized(), now - 8_000),
        entry("new", Finalized(), now - 5),
        entry("bad", Initialized(), now - 50),
        entry("bad", Claimed(), now - 1),
        entry("t0", Assigned(A, 2), now - 310),
    ]
    told.sort(key=lambda each: each.at)
    assert list(past.overhear(told)) == told
    found = speed(past.lately(), now)
    assert (found.last_minute, found.last_hour, found.failed) == (1, 11, 1)
    assert found.median == pytest.approx(59.5)
    assert found.ninth == pytest.approx(109)
    assert sum(count for _, count in by_minute(past.lately(), now)) == 11
    assert len(by_minute([], now)) == 60
    assert [round(took) for _, took in times_by_minute(past.lately(), now)] == [60]
    assert past.given("t0", str(A)) == now - 310
    nothing = speed([], now)
    assert (nothing.median, nothing.ninth, nothing.last_hour) == (None, None, 0)


async def test_an_end_that_is_told_again_counts_once():
    past = Past(clock=lambda: 100.0)
    for at in (10.0, 50.0):
        past.heard(entry("t", Finalized(), at))
    assert [end.at for end in past.lately()] == [50.0]


async def test_what_workers_have_is_read_beside_the_pages(office: Office):
    standings, worker = Standings(office.hub), office.wallet(0).address
    await standings.look([worker])
    assert standings.known(worker) is None  # nobody reads, and the page was made all the same
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(standings.run)
        with anyio.fail_after(60):
            while standings.known(worker) is None:
                await standings.look([worker])
        tasks.cancel_scope.cancel()
    known = standings.known(worker)
    account = await office.hub.account(worker)
    assert known is not None
    assert (known.free, known.locked) == (account.stake, account.locked)
    assert known.balance == await office.hub.balance(worker)
    assert known.score == await office.hub.score(worker)


async def test_a_node_that_does_not_answer_changes_nothing(office: Office, monkeypatch: Any):
    standings, worker = Standings(office.hub), office.wallet(0).address
    failed = anyio.Event()

    async def fail(*_: object) -> list[Any]:
        failed.set()
        raise Unavailable("no node")

    monkeypatch.setattr(office.hub.rpc, "batch", fail)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(standings.run)
        await standings.look([worker])
        with anyio.fail_after(60):
            await failed.wait()
        assert standings.known(worker) is None
        tasks.cancel_scope.cancel()
