"""Ten workers on one pool: two lie, one is killed again and again, one falls silent."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from market_lab import PATIENCE, Ear, Lab, market_lab, with_worker

from tallystick.chain.records import TaskState
from tallystick.cli.ending import Ending, see_through
from tallystick.devnet.packages import PocoPackages
from tallystick.devnet.services import Plan
from tallystick.devnet.supervise import Service
from tallystick.poco.contribution import result_hash
from tallystick.poco.values import Digest, TaskId
from tallystick.requester.buy import Purchase

pytestmark = [pytest.mark.anyio, pytest.mark.long]

LIAR = Path(__file__).with_name("lying_worker.py")
LIE = Digest(b"\x66" * 32)
LIARS = (9, 10)


def two_liars(plan: Plan, console: Any, memory: Any) -> list[Service]:
    """The usual processes, but the last two workers lie."""
    honest, lying = (with_worker(number, LIAR)(plan, console, memory) for number in LIARS)
    return [*honest[:-1], lying[-1]]


@asynccontextmanager
async def stopped(lab: Lab, name: str) -> AsyncIterator[None]:
    """A process that is there and does nothing, while the block lasts."""
    pid = lab.pid(name)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def ends(lab: Lab, purchases: list[Purchase]) -> dict[TaskId, Ending]:
    """How every task ended."""
    found: dict[TaskId, Ending] = {}

    async def see(bought: Purchase, task: TaskId) -> None:
        found[task] = await see_through(
            lab.session,
            bought,
            task,
            screen=Ear(),
            reader=lab.requester,
            out=lab.out / str(task),
        )

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            for bought in purchases:
                for task in bought.tasks:
                    tasks.start_soon(see, bought, task)
    return found


async def test_every_task_ends_well_whatever_workers_do(
    poco_packages: PocoPackages, tmp_path: Path
):
    async with market_lab(
        tmp_path, workers=10, executor="bubblewrap", children=two_liars, alive=10
    ) as lab:
        async with stopped(lab, "worker-2"), anyio.create_task_group() as tasks:
            single = await lab.buy("digits", trust=5)
            bag = await lab.buy("digits", trust=5, count=6)
            tasks.start_soon(again_and_again, lab, "worker-1", bag.tasks)
            endings = await ends(lab, [single, bag])
            tasks.cancel_scope.cancel()
        assert len(endings) == 7
        assert all(ending.paid for ending in endings.values())
        assert all(sum(ending.money.gains.values()) == 0 for ending in endings.values())
        for task, ending in endings.items():
            on_chain = await lab.session.hub.task(task)
            assert on_chain is not None
            assert on_chain.state is TaskState.COMPLETED
            assert on_chain.consensus != result_hash(task, LIE), "a lie has won"
            gains = lab.gains(ending)
            assert all(gains.get(f"worker-{n}", 0) <= 0 for n in LIARS)
        for number in range(1, 11):
            assert (await lab.stake(f"worker-{number}"))[1] == 0, "a stake is locked for ever"


async def again_and_again(lab: Lab, name: str, bag: tuple[TaskId, ...]) -> None:
    """Kill it whenever a task of the bag has ended; the market starts it again."""
    for task in bag:
        while not await over(lab, task):  # noqa: ASYNC110 (a node)
            await anyio.sleep(0.2)
        with suppress(ProcessLookupError):  # two ended at once: it is being started again
            lab.kill(name)


async def over(lab: Lab, task: TaskId) -> bool:
    known = await lab.session.hub.task(task)
    return known is not None and known.state in (TaskState.COMPLETED, TaskState.FAILED)
