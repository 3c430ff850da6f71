"""The engine against a crash, an abort and a flaky step; hours pass in milliseconds."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

import anyio
import pytest
from trio.testing import MockClock

from tallystick.engine import timing
from tallystick.engine.engine import Engine
from tallystick.engine.errors import Unavailable
from tallystick.engine.journal import ChainRef, Journal
from tallystick.lifecycle import agenda as agendas
from tallystick.lifecycle.facts import (
    AppFetched,
    Assigned,
    Claimed,
    Fact,
    Initialized,
    Ordered,
    Started,
    Step,
)
from tallystick.lifecycle.replicate import Status
from tallystick.lifecycle.task import Task, TaskStatus, advance, fold
from tallystick.poco.deal import Deal
from tallystick.poco.values import Address, DealId

ME = Address(b"\1" * 20)
DEAL = Deal(DealId(bytes(32)), start=0, time_unit=36_000, trust=1)
TASK = DEAL.task_id(0)
STREAM = str(TASK)
KINDS = get_args(Fact)

pytestmark = pytest.mark.anyio
Perform = Callable[[agendas.WorkerCommand], Awaitable[Fact | None]]


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class EngineRules:
    """A worker's, at the beginning of time."""

    fold = staticmethod(fold)
    advance = staticmethod(advance)

    def agenda(self, task: Task) -> Iterable[agendas.WorkerCommand]:
        return agendas.owed_by_worker(task, ME, 0)

    def begins(self, task: Task, command: agendas.WorkerCommand) -> Fact | None:
        return None


OPENED: list[Journal[Fact]] = []


@pytest.fixture(autouse=True)
def journals_end_with_the_test() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


def journal(path: Path) -> Journal[Fact]:
    OPENED.append(Journal[Fact](path, KINDS))
    return OPENED[-1]


def worker(path: Path, perform: Perform) -> Engine[Task, Fact, agendas.WorkerCommand]:
    return Engine(journal=journal(path), rules=EngineRules(), perform=perform)


def assigned(path: Path, perform: Perform) -> Engine[Task, Fact, agendas.WorkerCommand]:
    engine = worker(path, perform)
    engine.record(STREAM, Ordered(DEAL, 0), at(1))
    engine.record(STREAM, Initialized(), at(2))
    engine.record(STREAM, Assigned(ME, weight=2))
    return engine


def at(block: int, fork: str = "a") -> ChainRef:
    return ChainRef(block, f"{fork}{block}", 0)


async def forever() -> Fact | None:
    await anyio.sleep_forever()
    return None


async def one_hour_each(command: agendas.WorkerCommand) -> Fact | None:
    await anyio.sleep(3_600)
    match command:
        case agendas.Do(step=Step.START):
            return Started(ME)
        case agendas.Do(step=Step.FETCH_APP):
            return AppFetched(ME)
        case _:
            return None


async def test_a_crash_costs_only_the_step_it_interrupts(tmp_path: Path):
    before = assigned(tmp_path / "journal.db", one_hour_each)
    async with before.working():
        await anyio.sleep(5_400)  # started, and half way through the next step

    after = worker(tmp_path / "journal.db", one_hour_each)
    assert after.states == before.states
    assert after.states[STREAM].replicates[ME].status is Status.STARTED
    async with after.working():
        await anyio.sleep(3_700)
    assert after.states[STREAM].replicates[ME].status is Status.APP_FETCHED


async def test_what_leaves_the_agenda_is_cancelled(tmp_path: Path):
    ended: list[str] = []

    async def endless(command: agendas.WorkerCommand) -> Fact | None:
        try:
            return await forever()
        finally:
            ended.append(str(command.step) if isinstance(command, agendas.Do) else "abort")

    engine = assigned(tmp_path / "journal.db", endless)
    async with engine.working():
        await anyio.sleep(1)
        engine.record(STREAM, Claimed())
        await anyio.sleep(1)
        assert ended == ["start"]


async def test_a_failing_step_is_tried_until_it_succeeds(tmp_path: Path):
    attempts = 0

    async def third_time_lucky(command: agendas.WorkerCommand) -> Fact | None:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise Unavailable("registry is down")
        return Started(ME) if command == agendas.Do(TASK, Step.START) else await forever()

    engine = assigned(tmp_path / "journal.db", third_time_lucky)
    async with engine.working():
        await anyio.sleep(10)
    assert engine.states[STREAM].replicates[ME].status is Status.STARTED


async def test_a_bug_is_loud(tmp_path: Path):
    async def broken(command: agendas.WorkerCommand) -> Fact | None:
        raise ZeroDivisionError

    engine = assigned(tmp_path / "journal.db", broken)
    with pytest.RaisesGroup(ZeroDivisionError):
        async with engine.working():
            await anyio.sleep(10)


async def test_what_the_chain_took_back_is_asked_for_again(tmp_path: Path):
    engine = assigned(tmp_path / "journal.db", one_hour_each)
    async with engine.working():
        await anyio.sleep(3_700)
        assert engine.states[STREAM].replicates[ME].status is Status.STARTED
        assert engine.roll_back(1) == (STREAM,)
        assert engine.states[STREAM].status is TaskStatus.UNSET
        assert engine.states[STREAM].replicates[ME].status is Status.STARTED
        engine.record(STREAM, Initialized(), at(2, "b"))
        await anyio.sleep(3_700)
        assert engine.states[STREAM].replicates[ME].status is Status.APP_FETCHED
    again = worker(tmp_path / "journal.db", one_hour_each)
    assert again.states == engine.states


async def test_a_log_that_is_read_twice_changes_nothing(tmp_path: Path):
    engine = assigned(tmp_path / "journal.db", one_hour_each)
    before = engine.states[STREAM]
    engine.record(STREAM, Ordered(DEAL, 0), at(1))
    assert engine.states[STREAM] == before
    assert len(list(journal(tmp_path / "journal.db").read())) == 3


async def test_how_long_an_act_waited_is_kept_beside_the_facts(tmp_path: Path):
    async def prompt(command: agendas.WorkerCommand) -> Fact | None:
        timing.sent("ask the chain")
        return await forever()

    engine = assigned(tmp_path / "journal.db", prompt)
    async with engine.working():
        await anyio.sleep(1)
    ((what, due, sent),) = engine.timings(STREAM)
    assert what == "ask the chain"
    assert due <= sent
