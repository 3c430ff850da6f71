"""What a v9 scheduler's word moves a worker to, and what it does not."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from worker_lab import ME, TASK, task_of

from tallystick.chain.records import TaskState
from tallystick.lifecycle.facts import (
    Aborted,
    Assigned,
    Contributed,
    Fact,
    Initialized,
    UploadRequested,
)
from tallystick.poco.values import Address, Hash, TaskId
from tallystick.wire.notifications import NotificationExtra, TaskNotification
from tallystick.worker.foreign.orders import UPLOAD_SECONDS, Orders

pytestmark = pytest.mark.anyio

OTHER = Address(b"\x02" * 20)
BEGUN = (Initialized(), Assigned(ME, 3))
VOTED = (*BEGUN, Contributed(ME, Hash(b"\x07" * 32), 3))


@dataclass
class World:
    """Session, chain and scheduler, as far as orders look at them."""

    facts: tuple[Fact, ...]
    state: TaskState = TaskState.ACTIVE
    status: str = "RUNNING"
    uploader: str = str(ME)
    now: int = 10
    recorded: list[Fact] = field(default_factory=list)
    expected: list[Fact] = field(default_factory=list)

    async def task(self, id: TaskId) -> Any:
        return SimpleNamespace(state=self.state, contribution_deadline=1_000)

    async def head(self) -> Any:
        return SimpleNamespace(timestamp=self.now)

    async def fate(self, task: TaskId) -> tuple[str, str]:
        return self.status, self.uploader

    def record(self, stream: str, fact: Fact) -> None:
        self.recorded.append(fact)

    async def take(self, offer: object) -> None:
        raise AssertionError("nothing is offered")

    def orders(self) -> Orders:
        engine = SimpleNamespace(states={str(TASK): task_of(*self.facts)}, record=self.record)
        clock = SimpleNamespace(now=lambda: self.now)
        session: Any = SimpleNamespace(
            me=ME, hub=self, engine=engine, follower=SimpleNamespace(clock=clock)
        )
        client: Any = self
        return Orders(session, client, self.take, lambda _, fact: self.expected.append(fact))


def news(word: str, *, to: tuple[Address, ...] = (ME,), cause: str | None = None) -> Any:
    return TaskNotification(
        chain_task_id=TASK,
        workers_address=to,
        task_notification_type=word,
        task_notification_extra=NotificationExtra(task_abort_cause=cause),
    )


async def test_an_abort_that_the_scheduler_does_not_stand_by():
    """Anybody may speak on its channel: the task goes on, by the chain and by itself."""
    world = World(BEGUN)
    await world.orders().hear(news("PLEASE_ABORT"))
    assert world.recorded == []


@pytest.mark.parametrize(
    "change",
    [{"state": TaskState.REVEALING}, {"now": 1_000}, {"status": "FAILED"}, {"status": ""}],
)
async def test_an_abort_that_is_true(change: dict[str, Any]):
    world = World(BEGUN, **change)
    await world.orders().hear(news("PLEASE_ABORT", cause="CONSENSUS_REACHED"))
    assert world.recorded == [Aborted(ME, "CONSENSUS_REACHED")]


async def test_an_abort_in_an_answer_is_the_schedulers_own():
    world = World(BEGUN)
    await world.orders().abort(str(TASK), "NOVEL", sure=True)
    assert world.recorded == [Aborted(ME, "UNKNOWN")]


@pytest.mark.parametrize("sure", [True, False])
async def test_a_vote_is_never_dropped(sure: bool):
    """Its stake would be lost; the chain tells whether it counts."""
    world = World(VOTED, state=TaskState.REVEALING, status="FAILED")
    await world.orders().abort(str(TASK), "UNKNOWN", sure=sure)
    assert world.recorded == []


async def test_an_upload_that_is_asked_for():
    world = World(VOTED)
    await world.orders().hear(news("PLEASE_UPLOAD"))
    assert world.expected == [UploadRequested(ME, world.now + UPLOAD_SECONDS)]


async def test_an_upload_that_the_scheduler_did_not_ask_us_for():
    """Before it is wanted the store refuses it for good, and the task has no result."""
    world = World(VOTED, uploader=str(OTHER))
    await world.orders().hear(news("PLEASE_UPLOAD"))
    assert world.expected == []


async def test_an_upload_where_nobody_can_be_asked():
    world = World(VOTED, status="", uploader="")
    await world.orders().hear(news("PLEASE_UPLOAD"))
    assert world.expected == [UploadRequested(ME, world.now + UPLOAD_SECONDS)]


@pytest.mark.parametrize("word", ["PLEASE_UPLOAD", "PLEASE_ABORT"])
async def test_what_is_for_others(word: str):
    world = World(VOTED, status="FAILED")
    await world.orders().hear(news(word, to=(OTHER,)))
    world.facts = ()
    await world.orders().hear(news(word, to=()))
    assert world.recorded == world.expected == []


@pytest.mark.parametrize("status", ["RUNNING", "CONSENSUS_REACHED", "RESULT_UPLOADING"])
async def test_a_reveal_is_told_once_the_scheduler_knows_the_consensus(status: str):
    """Before that it still counts those who have contributed, and no more than that."""
    world = World(VOTED, status=status)
    orders, known = world.orders(), anyio.Event()
    async with anyio.create_task_group() as tasks:

        async def wait() -> None:
            await orders.consensus(str(TASK))
            known.set()

        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert known.is_set() == (status != "RUNNING")
        if status == "RUNNING":  # anybody may say so: it has to be true
            await orders.hear(news("PLEASE_REVEAL"))
            await anyio.wait_all_tasks_blocked()
            assert not known.is_set()
            world.status = "CONSENSUS_REACHED"
        await orders.hear(news("PLEASE_REVEAL"))
        with anyio.fail_after(60):
            await known.wait()
