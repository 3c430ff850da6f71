"""Statuses that only a scheduler can give: who is late, who is away, who is back."""

from __future__ import annotations

from typing import Any

import pytest
from scheduler_office import NOW, Office, ref

from tallystick.lifecycle.facts import ConsensusReached, Contributed, Revealed, UploadRequested
from tallystick.lifecycle.history import names
from tallystick.poco.contribution import result_hash
from tallystick.poco.values import Address, Digest, TaskId

pytestmark = pytest.mark.anyio

DIGEST = Digest(b"\x07" * 32)
DEADLINE = NOW + 600


async def assigned(office: Office, number: int) -> tuple[dict[str, str], TaskId, Address]:
    headers = await office.member(0)
    task = office.buy(number)
    office.open(task, block=10 + number)
    assert (await office.demand(headers)).status_code == 200
    return headers, task, office.wallet(0).address


def winner(office: Office, task: TaskId, me: Address, *, revealed: bool) -> None:
    vote, record = result_hash(task, DIGEST), office.pool.engine.record
    record(str(task), Contributed(me, vote, 2), ref(20, task[0]))
    record(str(task), ConsensusReached(vote, DEADLINE), ref(21, task[0]))
    if revealed:
        record(str(task), Revealed(me, DIGEST), ref(22, task[0]))


def told(office: Office, task: TaskId, me: Address, vocabulary: Any = "seed") -> list[str]:
    rows = office.app.state.desk.history(task).rows[me]
    return list(names(rows, vocabulary))


async def test_who_does_not_reveal_in_time(office: Office):
    _, task, me = await assigned(office, 71)
    winner(office, task, me, revealed=False)
    office.pool.mark_overdue()
    assert told(office, task, me)[-1] == "CONTRIBUTED"
    office.pool.clock.saw(DEADLINE)
    office.pool.mark_overdue()
    office.pool.mark_overdue()
    assert told(office, task, me)[-1] == "REVEAL_TIMEOUT"
    assert told(office, task, me, "modern")[-1] == "FAILED"


@pytest.mark.parametrize("begun", [False, True])
async def test_who_does_not_upload_in_time(office: Office, begun: bool):
    headers, task, me = await assigned(office, 72 + begun)
    winner(office, task, me, revealed=True)
    office.pool.engine.record(str(task), UploadRequested(me, NOW + 120))
    if begun:
        assert (await office.report(headers, task, "RESULT_UPLOADING"))[0] == 200
    office.pool.clock.saw(NOW + 120)
    office.pool.mark_overdue()
    name = "RESULT_UPLOAD_FAILED" if begun else "RESULT_UPLOAD_REQUEST_FAILED"
    assert told(office, task, me)[-1] == name
    assert told(office, task, me, "modern")[-1] == "RESULT_UPLOAD_FAILED"


async def test_who_is_not_heard_is_lost_and_who_comes_back_recovers(office: Office):
    headers, task, me = await assigned(office, 74)
    office.pool.mark_lost(0.0)
    assert told(office, task, me)[-1] == "WORKER_LOST"
    await office.member(0)
    assert told(office, task, me)[-1] == "RECOVERING"
    assert (await office.report(headers, task, "STARTING"))[0] == 200
    rows = office.app.state.desk.history(task).rows[me]
    assert [row.by for row in rows][-2:] == ["pool manager", "worker"]


async def test_after_computed_a_v9_peer_is_asked_to_contribute(office: Office):
    headers, task, _ = await assigned(office, 75)
    for status in (
        *("STARTING", "STARTED", "APP_DOWNLOADING", "APP_DOWNLOADED"),
        *("DATA_DOWNLOADING", "DATA_DOWNLOADED", "COMPUTING"),
    ):
        assert (await office.report(headers, task, status))[0] == 200
    done = await office.report(headers, task, "COMPUTED", exitCode=0)
    assert done == (200, "PLEASE_CONTRIBUTE")
    assert await office.report(headers, task, "COMPUTED") == (208, "PLEASE_WAIT")
    assert await office.report(headers, task, "CONTRIBUTING") == (200, "PLEASE_CONTINUE")
    early = await office.report(headers, task, "RESULT_UPLOADING")
    assert early == (202, "PLEASE_ABORT")
