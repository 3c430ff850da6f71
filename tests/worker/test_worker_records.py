"""What a worker's folder tells: tasks, money, and that looking changes nothing."""

from __future__ import annotations

import csv
import io
import logging
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, get_args

import anyio
import pytest
from worker_lab import DEAL, ME, settings

from tallystick.chain import contracts
from tallystick.chain.abi import topic
from tallystick.chain.book import Book
from tallystick.chain.call import Call
from tallystick.chain.envelope import Price
from tallystick.engine.engine import Engine
from tallystick.engine.journal import ChainRef, Journal
from tallystick.engine.read_only import JournalView, NotThere
from tallystick.lifecycle.facts import (
    Aborted,
    Assigned,
    Began,
    Claimed,
    ConsensusReached,
    Contributed,
    Fact,
    Failed,
    Finalized,
    Initialized,
    Ordered,
    Revealed,
    Step,
)
from tallystick.lifecycle.task import advance, fold
from tallystick.poco.values import Address, Digest, Hash, TaskId
from tallystick.worker.accountant import Accountant, rlc
from tallystick.worker.earnings import Settled, as_csv, as_json, by_day, settled
from tallystick.worker.folder import TaskFolder
from tallystick.worker.records import NoSuchTask, Records

pytestmark = pytest.mark.anyio

OTHER = Address(b"\x02" * 20)
MINE, THEIRS = Hash(b"\x0a" * 32), Hash(b"\x0b" * 32)
HUB = Address(b"\x0f" * 20)
STAKE = 30
DAY = 86_400.0


class Rules:
    def fold(self, facts: Any) -> Any:
        return fold(facts)

    def advance(self, task: Any, fact: Any) -> Any:
        return advance(task, fact)

    def agenda(self, task: Any) -> Any:
        return iter(())

    def begins(self, task: Any, command: Any) -> None:
        return None


async def never(command: object) -> Fact | None:
    raise AssertionError


@dataclass
class Node:
    """Tells what the hub logged in a block."""

    logs: dict[str, list[dict[str, Any]]]
    rpc: Any = None
    address: Address = HUB

    def __post_init__(self) -> None:
        self.rpc = self

    async def call(self, method: str, question: dict[str, Any]) -> Any:
        assert method == "eth_getLogs"
        assert question["address"] == str(HUB)
        return self.logs.get(question["blockHash"], [])


def log_of(event: str, account: Address, amount: int, task: TaskId, at: int) -> dict[str, Any]:
    data = bytes(12) + account + amount.to_bytes(32, "big") + task
    return {
        "address": str(HUB),
        "topics": [str(topic(event))],
        "data": "0x" + data.hex(),
        "blockNumber": "0x5",
        "blockHash": "0x" + "05" * 32,
        "logIndex": "0x0",
        "transactionHash": "0x" + "06" * 32,
        "blockTimestamp": hex(at),
    }


class Desk:
    """A worker's folder with a journal, an engine on it and an accountant."""

    opened: ClassVar[list[Journal[Fact]]] = []

    def __init__(self, base: Path, logs: dict[str, list[dict[str, Any]]] | None = None) -> None:
        self.config = settings(base)
        self.home = self.config.home
        self.home.mkdir(parents=True, exist_ok=True)
        self.journal = Journal[Fact](self.home / "journal.db", get_args(Fact))
        self.opened.append(self.journal)
        self.engine: Any = Engine(journal=self.journal, rules=Rules(), perform=never)
        self.accountant = Accountant(
            ME,
            self.config,
            Node(logs or {}),
            self.engine,
            self.journal,  # type: ignore[arg-type] # a double
        )
        self._block = 0

    def tell(self, task: TaskId, *facts: Fact, block_hash: str = "") -> None:
        for fact in facts:
            self._block += 1
            chain = type(fact).__name__ in (
                "Initialized",
                "Contributed",
                "Finalized",
                "Claimed",
            )
            ref = ChainRef(self._block, block_hash or f"0x{self._block:064x}", 0)
            self.engine.record(str(task), fact, ref if chain else None)

    async def settle(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.accountant.run)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()

    def ask(self) -> Records:
        return Records(self.home)


@pytest.fixture(autouse=True)
def close_journals() -> Iterator[None]:
    yield
    while Desk.opened:
        Desk.opened.pop().close()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def a_deal(number: int) -> Any:
    return replace(DEAL, id=type(DEAL.id)(bytes([number]) * 32), worker_stake=STAKE)


def voted(deal: Any, vote: Hash = MINE) -> tuple[Fact, ...]:
    return (Ordered(deal, 0), Initialized(), Assigned(ME, 2), Contributed(ME, vote, 2))


def finished(deal: Any, vote: Hash = MINE) -> tuple[Fact, ...]:
    shown = (Revealed(ME, Digest(bytes(32))),) if vote == MINE else ()
    return (*voted(deal, vote), ConsensusReached(MINE, 9**9), *shown, Finalized())


async def test_what_the_chain_paid_is_noted_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "tallystick")
    won, lost, open_, dead = (a_deal(n) for n in (1, 2, 3, 4))
    ids = [each.task_id(0) for each in (won, lost, open_, dead)]
    block = "0x" + "05" * 32
    logs = {
        block: [
            log_of(contracts.REWARD, ME, 990_000_000, ids[0], 100),
            log_of(contracts.REWARD, OTHER, 5, ids[0], 100),
            log_of(contracts.SEIZE, ME, STAKE, ids[1], 100),
            log_of(contracts.REWARD, ME, 7, TaskId(bytes(32)), 100),
        ]
    }
    desk = Desk(tmp_path, logs)
    desk.tell(ids[0], *finished(won), block_hash=block)
    desk.tell(ids[1], *finished(lost, THEIRS), block_hash=block)
    desk.tell(ids[2], *voted(open_))
    desk.tell(ids[3], *voted(dead), Claimed())
    await desk.settle()
    assert f"Earned 0.99 RLC for task {ids[0]}." in caplog.text
    assert (
        f"A stake of {STAKE} nRLC was lost with task {ids[1]}, because another result won the"
        " vote." in caplog.text
    )
    assert f"our stake of {STAKE} nRLC is free again" in caplog.text
    with desk.ask() as records:
        earned, other = records.earnings()
    by_task = {each.task: each for each in earned}
    assert by_task[str(ids[0])].reward == 990_000_000
    assert by_task[str(ids[0])].at == 100.0
    assert (by_task[str(ids[1])].lost, by_task[str(ids[1])].paid) == (STAKE, False)
    assert (by_task[str(ids[2])].locked, by_task[str(ids[2])].net) == (STAKE, 0)
    assert by_task[str(ids[3])].locked == 0
    total = as_json(earned, other)["total"]
    assert (total["reward"], total["lost"], total["paid"], total["tasks"]) == (
        990_000_000,
        STAKE,
        1,
        4,
    )


async def test_what_a_reorg_took_away_is_not_earned(tmp_path: Path):
    deal, old = a_deal(1), "0x" + "05" * 32
    task = deal.task_id(0)
    logs = {old: [log_of(contracts.REWARD, ME, 9, task, 100)]}
    desk = Desk(tmp_path, logs)
    desk.tell(task, *finished(deal), block_hash=old)
    await desk.settle()
    with desk.ask() as records:
        assert records.earnings()[0][0].reward == 9
    desk.engine.roll_back(desk._block - 1)
    with desk.ask() as records:
        assert records.earnings()[0][0].reward == 0
    new = "0x" + "07" * 32
    logs[new] = [log_of(contracts.REWARD, ME, 8, task, 200)]
    desk.tell(task, Finalized(), block_hash=new)
    await desk.settle()
    with desk.ask() as records:
        assert records.earnings()[0][0].reward == 8


async def test_what_ended_while_the_worker_was_away_is_settled_at_its_next_start(tmp_path):
    deal, block = a_deal(1), "0x" + "05" * 32
    task = deal.task_id(0)
    Desk(tmp_path).tell(task, *finished(deal), block_hash=block)
    again = Desk(tmp_path, {block: [log_of(contracts.REWARD, ME, 9, task, 100)]})
    await again.settle()
    with again.ask() as records:
        assert records.history(str(task))["reward"] == 9


def test_the_last_lines_of_an_app_outlive_its_folder(tmp_path: Path):
    desk, deal = Desk(tmp_path), a_deal(1)
    task = deal.task_id(0)
    desk.tell(task, Ordered(deal, 0), Initialized(), Assigned(ME, 2))
    for fact in (Began(ME, Step.START), Failed(ME, Step.START, "UNKNOWN")):
        folder = TaskFolder(desk.home, task)
        folder.make()
        folder.write_logs("\n".join(f"line {n}" for n in range(50)), "out of cheese")
        desk.tell(task, fact)
        folder.remove()
    with desk.ask() as records:
        told = records.history(str(task)[:12])
    assert told["last_lines"].endswith("line 49\nout of cheese")
    assert "line 29" not in told["last_lines"]
    assert told["cause"] == "UNKNOWN"
    assert [each["fact"] for each in told["moments"]][-2:] == ["Began", "Failed"]


def test_rows_are_newest_first_and_a_wrong_id_is_a_sentence(tmp_path: Path):
    desk = Desk(tmp_path)
    for n in (1, 2, 3):
        deal = a_deal(n)
        desk.tell(deal.task_id(0), Ordered(deal, 0), Initialized(), Assigned(ME, 2))
    desk.tell(a_deal(2).task_id(0), Aborted(ME, "CONSENSUS_REACHED"))
    with desk.ask() as records:
        rows = records.rows()
        assert [row["task"] for row in rows] == [str(a_deal(n).task_id(0)) for n in (3, 2, 1)]
        assert len(records.rows(limit=2)) == 2
        for wrong in ("0xffffff", "0x", "zz"):
            with pytest.raises(NoSuchTask, match="tally worker tasks"):
                records.history(wrong)


def test_looking_changes_nothing_and_nothing_is_made(tmp_path: Path):
    with pytest.raises(NotThere, match=r"journal\.db"):
        Records(tmp_path)
    assert list(tmp_path.iterdir()) == []
    desk = Desk(tmp_path)
    view = JournalView[Fact](desk.home / "journal.db", get_args(Fact))
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        view._db.execute("INSERT INTO notes VALUES ('a', 'b')")
    view.close()
    with desk.ask() as records:
        assert (records.me, records.rows(), records.earnings()) == (None, [], ([], {}))


def test_gas_belongs_to_its_task_or_to_none(tmp_path: Path):
    desk, deal = Desk(tmp_path), a_deal(1)
    task = deal.task_id(0)
    desk.tell(task, *voted(deal))
    book = Book(desk.home / "transactions.db", ME, 31337)
    receipt = {"gasUsed": hex(1_000), "effectiveGasPrice": hex(7)}
    for what, data in (
        (f"contribute to {task}", b"\1\2\3\4" + task),
        (f"reveal {task}", b"\5\6\7\0" + task),
        ("deposit 5 nRLC", b"\1\1\1\1" + bytes(64)),
    ):
        entry, _ = book.reserve(
            Call(HUB, data, what),
            lambda nonce: (bytes([nonce]), Price(7, None)),
            count=0,
            gas=9,
            cap=9,
            block=1,
        )
        book.mined(entry, receipt)
    with desk.ask() as records:
        (earned,), other = records.earnings()
        assert records.history(str(task))["gas"] == 14_000
    book.close()
    assert earned.gas == 14_000
    assert list(other.values()) == [7_000]


def test_days_add_up_to_the_total(tmp_path: Path):
    desk = Desk(tmp_path)
    for n in (1, 2):
        deal = a_deal(n)
        desk.tell(deal.task_id(0), *finished(deal), block_hash=f"0x{n:064x}")
        note = Settled(reward=n * 100, lost=n, at=n * DAY, block_hash=f"0x{n:064x}")
        desk.journal.note(f"settled {deal.task_id(0)}", note.written())
    with desk.ask() as records:
        earned, _ = records.earnings()
    other = {"1970-01-02": 5, "1970-01-04": 6}
    days = by_day(earned, other)
    assert [(d.day, d.reward, d.lost, d.net, d.gas) for d in days] == [
        ("1970-01-02", 100, 1, 99, 5),
        ("1970-01-03", 200, 2, 198, 0),
        ("1970-01-04", 0, 0, 0, 6),
    ]
    total = as_json(earned, other)["total"]
    assert (total["net"], total["gas"]) == (297, 11)
    lines = list(csv.DictReader(io.StringIO(as_csv(earned))))
    assert [line["net_nrlc"] for line in lines] == ["99", "198"]
    assert lines[0]["at"] == "1970-01-02T00:00:00+00:00"


@pytest.mark.parametrize("broken", ["", "{}", "[]", '{"reward": 1}', "null"])
def test_a_note_that_cannot_be_read_earns_nothing(broken: str):
    assert settled(broken) is None


@pytest.mark.parametrize(
    ("nrlc", "text"),
    [
        (0, "0.00 RLC"),
        (990_000_000, "0.99 RLC"),
        (1, "0.000000001 RLC"),
        (-15 * 10**8, "-1.50 RLC"),
    ],
)
def test_amounts_lose_no_digit(nrlc: int, text: str):
    assert rlc(nrlc) == text
