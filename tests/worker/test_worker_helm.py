"""Gates, judges, and the orders that a worker gets: what it asks for and what it hands back."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any, get_args

import anyio
import pytest
from test_worker_session import Line, assigned, at, line, offered, session_of, until
from worker_lab import DEAL, ME, Bench, task_of

from tallystick.engine.errors import DiskTrouble
from tallystick.engine.journal import Journal
from tallystick.engine.pulse import Pulse
from tallystick.lifecycle.facts import (
    Aborted,
    Assigned,
    Began,
    Computed,
    ConsensusReached,
    Contributed,
    Fact,
    Initialized,
    Revealed,
    Step,
)
from tallystick.lifecycle.replicate import Status
from tallystick.lifecycle.task import Task
from tallystick.poco.contribution import result_hash
from tallystick.poco.values import Digest, TaskId
from tallystick.wire.scheduler import OwnOffer
from tallystick.worker.decisions import Decisions
from tallystick.worker.drain import Course, Helm, owed, to_hand_back, unfinished
from tallystick.worker.gate import Reason
from tallystick.worker.journal_gate import JournalGate

__all__ = ["line"]
pytestmark = pytest.mark.anyio
DIGEST = Digest(b"\x5d" * 32)
VOTE = result_hash(DEAL.task_id(0), DIGEST)
NO = Reason("TOO_CHEAP", "It pays less than the floor.")


@pytest.fixture
def journal(tmp_path: Path) -> Any:
    with closing(Journal[Fact](tmp_path / "helm.db", get_args(Fact))) as book:
        yield book


class Door:
    """A gate."""

    reason: Reason | None = None

    def closed(self) -> Reason | None:
        return self.reason


class Judge:
    def __init__(self, reason: Reason | None) -> None:
        self.reason = reason

    async def objection(self, task: Task) -> Reason | None:
        return self.reason


async def test_a_closed_gate_ends_a_demand_and_an_open_one_begins_it(
    worker: Bench, line: Line, monkeypatch: pytest.MonkeyPatch
):
    held = hung_up = 0

    async def hold(block: int, *, wait: float) -> OwnOffer | None:
        nonlocal held, hung_up
        held += 1
        try:
            await anyio.sleep_forever()
        finally:
            hung_up += 1

    monkeypatch.setattr(line, "demand", hold)
    session, door = session_of(worker, line), Door()
    session.gates.append(door)
    async with at(session._ask, session), at(session._hang_up, session):
        await until(lambda: held == 1)
        door.reason = NO
        session.changes.beat()
        await until(lambda: hung_up == 1)
        await until(lambda: session.decisions.present is not None)
        await until(lambda: session.decisions.present.reason == NO)  # type: ignore[union-attr]
        door.reason = None
        session.changes.beat()
        await until(lambda: held == 2)
    assert [each.kind for each in session.decisions.recent()] == ["asking", "idle", "asking"]


async def test_a_task_that_a_judge_objects_to_is_handed_back_before_any_work(
    worker: Bench, line: Line
):
    permission = await offered(worker)
    session = session_of(worker, line)
    session.judges += [Judge(None), Judge(NO)]
    await session._hear(assigned(permission))
    task = worker.task(permission.chain_task_id)
    mine = task.replicates[worker.me]
    assert (mine.status, mine.cause) == (Status.ABORTED, "ABORTED_BY_WORKER")
    facts = [entry.fact for entry in worker.journal.read(stream=str(task.id))]
    assert not any(isinstance(fact, Began) for fact in facts)
    decision = session.decisions.about(task.id)
    assert decision is not None
    assert decision.reason == NO
    async with at(session._tell, session):
        await until(lambda: line.told == ["ABORTED"])


async def test_what_has_our_vote_is_not_judged(worker: Bench, line: Line):
    task = await worker.replicate()
    worker.after(task, Contributed(worker.me, result_hash(task.id, DIGEST), 2))
    session = session_of(worker, line)
    session.judges.append(Judge(NO))
    permission = worker.trade.permission(task.id, worker.me, deal=task.deal.id)
    await session._hear(assigned(permission))
    assert worker.task(task.id).replicates[worker.me].status is Status.CONTRIBUTED
    assert session.decisions.about(task.id) is None


def test_decisions_outlive_a_restart_and_do_not_grow_without_end(
    journal: Journal[Fact], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tallystick.worker.decisions._KEPT", 3)
    decisions = Decisions(journal, clock=iter(range(100)).__next__)
    tasks = [TaskId(bytes([n]) * 32) for n in range(5)]
    for task in tasks:
        decisions.note("declined", task, NO)
    again = Decisions(journal)
    assert [again.about(task) is not None for task in tasks] == [False, False, True, True, True]
    assert len(journal.notes("decision ")) == 3


def test_the_same_reason_to_be_idle_is_no_news(journal: Journal[Fact]):
    decisions = Decisions(journal)
    for _ in range(5):
        decisions.note("idle", None, NO)
    assert len(decisions.recent()) == 1


def test_a_pause_outlives_a_restart(journal: Journal[Fact]):
    helm = Helm(journal, Pulse())
    assert helm.closed() is None
    helm.pause()
    again = Helm(journal, Pulse())
    assert again.course is Course.PAUSED
    reason = again.closed()
    assert reason is not None
    assert reason.code == "PAUSED"
    again.resume()
    assert Helm(journal, Pulse()).closed() is None


async def test_only_a_stop_refuses_what_was_already_asked_for(journal: Journal[Fact]):
    helm, task = Helm(journal, Pulse()), task_of(Initialized())
    for order in (helm.pause, helm.drain):
        order()
        assert await helm.objection(task) is None
    helm.stop()
    helm.drain()
    helm.resume()
    assert helm.course is Course.STOPPING, "a stop is not taken back"
    assert await helm.objection(task) is not None


async def test_a_drain_waits_for_what_is_begun_and_a_stop_does_not(journal: Journal[Fact]):
    changes = Pulse()
    helm, tasks = Helm(journal, changes), [task_of(Initialized(), Assigned(ME, 2))]
    ended: list[str] = []

    async def wait() -> None:
        await helm.until_the_end(tasks, ME)
        ended.append("ended")

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        helm.drain()
        await anyio.wait_all_tasks_blocked()
        assert not ended
        tasks[0] = task_of(Initialized(), Assigned(ME, 2), Aborted(ME, "CONSENSUS_REACHED"))
        changes.beat()
        await anyio.wait_all_tasks_blocked()
        assert ended == ["ended"]
        tasks[0] = task_of(Initialized(), Assigned(ME, 2))
        helm.stop()
        await wait()


def test_what_is_voted_on_is_not_handed_back_but_told():
    assigned = task_of(Initialized(), Assigned(ME, 2))
    voted = task_of(Initialized(), Assigned(ME, 2), Contributed(ME, VOTE, 2))
    decided = task_of(
        Initialized(), Assigned(ME, 2), Contributed(ME, VOTE, 2), ConsensusReached(VOTE, 3_600)
    )
    proved = task_of(
        Initialized(),
        Assigned(ME, 2),
        Contributed(ME, VOTE, 2),
        ConsensusReached(VOTE, 3_600),
        Revealed(ME, DIGEST),
    )
    every = [assigned, voted, decided, proved]
    assert list(to_hand_back(every, ME)) == [assigned]
    assert list(unfinished(every, ME)) == every
    assert "reveal owed until 1970-01-01 01:00:00 UTC" in owed(decided, decided.replicates[ME])
    assert "may have to be revealed until" in owed(voted, voted.replicates[ME])
    assert "all is proved" in owed(proved, proved.replicates[ME])


async def test_an_abort_keeps_a_result_that_a_vote_may_be_on_its_way_for(worker: Bench):
    task = await worker.replicate()
    folder = worker.steps._folder(task)
    folder.make()
    folder.zip.write_bytes(b"zip")
    worker.after(task, *_computed(worker))
    assert await worker.steps._abort(worker.task(task.id), "CONSENSUS_REACHED")
    assert folder.zip.exists()
    other = await worker.replicate()
    theirs = worker.steps._folder(other)
    theirs.make()
    await worker.steps._abort(worker.task(other.id), "CONSENSUS_REACHED")
    assert not theirs.root.exists()


def _computed(worker: Bench) -> list[Fact]:
    from tallystick.lifecycle.facts import AppFetched, DataFetched, Started

    me = worker.me
    steps: list[Fact] = [Began(me, Step.START), Started(me), AppFetched(me), DataFetched(me)]
    return [*steps, Computed(me, DIGEST, 0)]


def test_no_work_while_the_journal_cannot_be_written(
    journal: Journal[Fact], monkeypatch: pytest.MonkeyPatch
):
    gate = JournalGate(journal)
    assert gate.closed() is None
    journal.trouble = DiskTrouble("no room.")
    note = journal.note

    def full(key: str, value: str) -> None:
        raise DiskTrouble("no room.")

    monkeypatch.setattr(journal, "note", full)
    reason = gate.closed()
    assert reason is not None
    assert reason.code == "JOURNAL_UNWRITABLE"
    monkeypatch.setattr(journal, "note", note)
    assert gate.closed() is None, "it tries by itself"
