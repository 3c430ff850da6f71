"""Several facts for one commit: all of them, or none and the states are as they were."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import get_args

import anyio
import pytest

from tallystick.engine.clock import ChainClock
from tallystick.engine.engine import Engine
from tallystick.engine.errors import DiskTrouble, Unavailable
from tallystick.engine.journal import Journal
from tallystick.engine.rounds import Rounds
from tallystick.lifecycle.facts import Fact, Initialized, Ordered
from tallystick.lifecycle.task import TaskStatus
from tallystick.poco.deal import Deal
from tallystick.poco.values import DealId
from tallystick.scheduler.inside import PoolEngine
from tallystick.scheduler.pool import PoolRules

DEAL = Deal(DealId(bytes(32)), start=1_000, time_unit=60, trust=1, bot_size=3)
TASKS = [str(DEAL.task_id(index)) for index in DEAL.indices]


async def nothing(command: object) -> Fact | None:
    raise AssertionError("the engine of these tests is not working")


def engine_on(journal: Journal[Fact]) -> PoolEngine:
    return Engine(journal=journal, rules=PoolRules(ChainClock()), perform=nothing)


def opened(path: Path) -> Journal[Fact]:
    return Journal[Fact](path, get_args(Fact))


def test_facts_of_one_commit_are_there_after_it_and_not_before(tmp_path: Path):
    engine = engine_on(opened(tmp_path / "journal.db"))
    other = sqlite3.connect(tmp_path / "journal.db")
    with engine.together():
        for index in DEAL.indices:
            engine.record(TASKS[index], Ordered(DEAL, index))
        assert other.execute("SELECT count(*) FROM facts").fetchone() == (0,)
    assert other.execute("SELECT count(*) FROM facts").fetchone() == (3,)
    other.close()
    assert engine_on(opened(tmp_path / "journal.db")).states == engine.states


def test_what_cannot_be_written_has_not_happened(tmp_path: Path):
    journal = opened(tmp_path / "journal.db")
    engine, changed = engine_on(journal), list[str]()
    engine.record(TASKS[0], Ordered(DEAL, 0))
    engine.watch(changed.append)
    with pytest.raises(DiskTrouble):
        _record_in_vain(engine)
    assert engine.states[TASKS[0]].status is TaskStatus.UNSET
    assert TASKS[1] not in engine.states
    assert changed[-2:] == TASKS[:2], "whoever keeps an index hears of it"
    engine.record(TASKS[0], Initialized())
    assert engine_on(opened(tmp_path / "journal.db")).states == engine.states


def _record_in_vain(engine: PoolEngine) -> None:
    with engine.together():
        engine.record(TASKS[0], Initialized())
        engine.record(TASKS[1], Ordered(DEAL, 1))
        assert engine.states[TASKS[0]].status is TaskStatus.ACTIVE
        raise DiskTrouble("the disk is gone")


@pytest.mark.anyio
async def test_questions_of_one_moment_are_answered_together():
    asked = list[list[int]]()

    async def answer(questions: object) -> list[int]:
        asked.append(list(questions))  # type: ignore[call-overload]
        return [each * each for each in asked[-1]]

    rounds, squares = Rounds[int, int](answer), dict[int, int]()

    async def ask(number: int) -> None:
        squares[number] = await rounds.ask(number)

    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(ask, number)
    assert squares == {0: 0, 1: 1, 2: 4, 3: 9, 4: 16}
    assert len(asked) == 1


@pytest.mark.anyio
async def test_trouble_is_everybodys_and_whoever_asked_first_may_hang_up():
    fail, scope = anyio.Event(), anyio.CancelScope()

    async def answer(questions: object) -> list[int]:
        await fail.wait()
        raise Unavailable("no node")

    rounds, troubles = Rounds[int, int](answer), list[str]()

    async def ask(number: int) -> None:
        try:
            await rounds.ask(number)
        except Unavailable as trouble:
            troubles.append(f"{number}: {trouble}")

    async def hang_up() -> None:
        with scope:
            await ask(1)

    async with anyio.create_task_group() as group:
        group.start_soon(hang_up)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(ask, 2)
        await anyio.wait_all_tasks_blocked()
        scope.cancel()
        await anyio.wait_all_tasks_blocked()
        fail.set()
    assert sorted(troubles) == ["1: no node", "2: no node"]
