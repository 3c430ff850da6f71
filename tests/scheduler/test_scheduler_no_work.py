"""An empty answer tells why: who waits in vain can do something about it."""

from __future__ import annotations

import pytest
from scheduler_office import Office
from test_scheduler_client import client, served

from tallystick.poco.values import Tag
from tallystick.wire.scheduler import NO_WORK, SchedulerClient, WorkerModel

pytestmark = pytest.mark.anyio

assert client
assert served


async def test_every_empty_answer_has_its_reason(office: Office):
    one, two = await office.member(0, slots=1), await office.member(1, slots=2)

    async def why(headers: dict[str, str], **extra: int) -> str:
        answer = await office.demand(headers, **extra)
        assert (answer.status_code, answer.content) == (204, b"")
        return answer.headers[NO_WORK]

    assert await why(one, blockNumber=0) == "ASKED_TOO_EARLY"
    assert await why(one) == "NO_TASK"
    office.open(office.buy(3, tag=Tag(bytes(31) + b"\x01")))
    assert await why(one) == "NEEDS_ENCLAVE"
    office.open(office.buy(1, trust=1))
    assert (await office.demand(one)).status_code == 200
    assert await why(one) == "SLOTS_FULL"
    assert await why(two) == "ENOUGH_WORKERS"


async def test_who_had_every_task_is_told_so(office: Office):
    headers = await office.member(0, slots=3)
    office.open(office.buy(1, trust=2**4))
    assert (await office.demand(headers)).status_code == 200
    assert (await office.demand(headers)).headers[NO_WORK] == "ALREADY_HAD"


async def test_a_stranger_is_told_to_register(office: Office):
    wallet = office.wallet(0)
    headers = {"authorization": f"Bearer {office.app.state.desk.tokens.issue(wallet.address)}"}
    assert (await office.demand(headers)).headers[NO_WORK] == "NOT_REGISTERED"


async def test_our_worker_hears_the_reason(office: Office, client: SchedulerClient):
    await client.register(WorkerModel(name="me", cpu_nb=2))
    assert await client.demand(5, wait=0.01) is None
    assert client.why_none == "NO_TASK"
