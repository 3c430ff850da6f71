"""Work is given fairly, with a fresh look at what a worker has, and to one an opening."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx2
import pytest
from scheduler_office import NOW, Office, opened, ref

from tallystick.chain.rpc import Request, Rpc
from tallystick.engine.errors import DiskTrouble
from tallystick.lifecycle.facts import Initialized, Lost, Ordered
from tallystick.poco.deal import Asset, Deal
from tallystick.poco.tags import GPU, tag_of
from tallystick.poco.values import DealId, TaskId
from tallystick.wire.scheduler import NO_WORK

pytestmark = pytest.mark.anyio


class Nodes:
    """What the chain was asked, and what it is made to answer about money."""

    def __init__(self, rpc: Rpc) -> None:
        self._batch = rpc.batch
        self.asked: list[list[Request]] = []

    async def batch(self, requests: list[Request]) -> list[Any]:
        self.asked.append(list(requests))
        return await self._batch(requests)

    @property
    def purses(self) -> list[int]:
        """How many purses were read, by message."""
        balances = [[r for r in each if r[0] == "eth_getBalance"] for each in self.asked]
        return [len(each) for each in balances if each]


@pytest.fixture
def nodes(office: Office, monkeypatch: pytest.MonkeyPatch) -> Nodes:
    found = Nodes(office.hub.rpc)
    monkeypatch.setattr(office.hub.rpc, "batch", found.batch)
    return found


def bag(office: Office, number: int, size: int = 1, **other: Any) -> list[TaskId]:
    """Tasks of one deal, open for contributions."""
    deal = Deal(
        DealId(bytes([number]) * 32),
        start=NOW,
        time_unit=300,
        trust=other.pop("trust", 1),
        bot_size=size,
        workerpool=Asset(office.chain.workerpool, office.chain.scheduler.address, 10),
        requester=office.chain.requester.address,
    )
    deal = replace(deal, **other)
    tasks = [deal.task_id(index) for index in deal.indices]
    for index, task in enumerate(tasks):
        office.pool.engine.record(str(task), Ordered(deal, index), ref(1, number * 100 + index))
        office.pool.engine.record(str(task), Initialized(), ref(2, number * 100 + index))
    return tasks


class Waiting:
    """Demands that are held open, and what each came to."""

    def __init__(self, office: Office) -> None:
        self.office, self.given = office, dict[int, list[str]]()
        self.ended: list[httpx2.Response] = []

    async def demand(self, number: int, headers: dict[str, str]) -> None:
        answer = await self.office.demand(headers, wait=20)
        self.ended.append(answer)
        if answer.status_code == 200:
            told = answer.json()["workerpoolAuthorization"]
            self.given.setdefault(number, []).append(told["chainTaskId"])


async def test_one_opening_calls_one_worker(office: Office, nodes: Nodes):
    members = [await office.member(number) for number in range(6)]
    waiting = Waiting(office)
    async with anyio.create_task_group() as group:
        for number, headers in enumerate(members):
            group.start_soon(waiting.demand, number, headers)
        await anyio.wait_all_tasks_blocked()
        assert nodes.purses == [], "nobody's money matters while there is nothing to do"
        (task,) = bag(office, 1)
        with anyio.fail_after(20):
            while not waiting.ended:
                await anyio.lowlevel.checkpoint()
        await anyio.wait_all_tasks_blocked()
        assert waiting.given == {0: [str(task)]}, "who waits longest"
        assert nodes.purses == [1]
        assert len(office.pool.giving.line) == 5
        bag(office, 2, size=5)
        with anyio.fail_after(20):
            while len(waiting.ended) < 6:
                await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    assert sorted(waiting.given) == list(range(6))
    assert sum(nodes.purses) == 6, "each was read once"
    assert len(nodes.purses) <= 3, "and those of one moment together"


async def test_a_task_gets_as_many_workers_as_could_decide_and_no_more(office: Office):
    members = [await office.member(number) for number in range(4)]
    (task,) = bag(office, 1, trust=4)
    answers = [await office.demand(headers) for headers in members]
    assert [answer.status_code for answer in answers] == [200, 200, 204, 204]
    lost = office.wallet(1).address
    office.pool.engine.record(str(task), Lost(lost))
    again = await office.demand(members[2])
    assert again.status_code == 200, "a lost one is replaced at once"
    assert (await office.demand(members[3])).headers[NO_WORK] == "ENOUGH_WORKERS"


async def test_a_lost_replicate_goes_to_who_waits(office: Office):
    one, two = await office.member(0), await office.member(1)
    (task,) = bag(office, 1)
    assert (await office.demand(one)).status_code == 200
    waiting = Waiting(office)
    async with anyio.create_task_group() as group:
        group.start_soon(waiting.demand, 1, two)
        await anyio.wait_all_tasks_blocked()
        office.pool.roster.left(office.wallet(0).address)
        office.pool.mark_lost(1e9)
    assert waiting.given == {1: [str(task)]}


async def test_who_is_there_but_never_begins_is_replaced(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    one, two = await office.member(0), await office.member(1)
    (task,) = bag(office, 1, trust=1)
    assert (await office.demand(one)).status_code == 200
    assert (await office.demand(two)).status_code == 204
    office.pool.mark_lost(1e9)
    assert (await office.demand(two)).status_code == 204, "not before its time"
    office.pool.mark_lost(-1.0)
    assert isinstance(
        office.pool.engine.states[str(task)].replicates[office.wallet(0).address].away, Lost
    )
    assert (await office.demand(two)).status_code == 200
    assert (await office.report(one, task, "STARTING"))[0] == 200, "what it says ends this"


async def test_stake_is_read_with_every_block(office: Office):
    headers = await office.member(0, slots=3)
    have = (await office.hub.account(office.wallet(0).address)).stake
    (costly,) = bag(office, 1, worker_stake=have - 5)
    (dear,) = bag(office, 2, worker_stake=have + 1)
    first = await office.demand(headers)
    assert first.json()["workerpoolAuthorization"]["chainTaskId"] == str(costly)
    (cheap,) = bag(office, 3, worker_stake=5)
    (other,) = bag(office, 4, worker_stake=6)
    second = await office.demand(headers)
    given = second.json()["workerpoolAuthorization"]["chainTaskId"]
    assert given == str(cheap), "what it will lock for the first is not there for another"
    refused = await office.demand(headers)
    assert (refused.status_code, refused.headers[NO_WORK]) == (204, "STAKE_TOO_LOW")
    assert {dear, other} <= {task.id for task in office.pool.open_tasks()}


async def test_who_was_short_of_stake_gets_work_with_the_block_that_brings_some(
    office: Office, nodes: Nodes
):
    headers, wallet = await office.member(0), office.wallet(0).address
    have = (await office.hub.account(wallet)).stake
    (task,) = bag(office, 1, worker_stake=have + 1)
    waiting = Waiting(office)
    async with anyio.create_task_group() as group:
        group.start_soon(waiting.demand, 0, headers)
        with anyio.fail_after(20):
            while not len(office.pool.giving.line):
                await anyio.lowlevel.checkpoint()
        assert not waiting.ended
        assert nodes.purses == [1], "it was looked at once, and waits now"
        office.chain.fund(wallet, deposit=1)
        office.pool.clock.saw(NOW + 1)
        office.pool.mark_overdue()
    assert waiting.given == {0: [str(task)]}


async def test_a_wallet_that_cannot_pay_for_gas_is_told_so(office: Office):
    headers = await office.member(0)
    bag(office, 1)
    office.chain.console.call("anvil_setBalance", str(office.wallet(0).address), hex(1))
    office.pool.clock.saw(NOW + 1)
    answer = await office.demand(headers)
    office.chain.console.call(
        "anvil_setBalance", str(office.wallet(0).address), hex(1000 * 10**18)
    )
    assert (answer.status_code, answer.headers[NO_WORK]) == (204, "OUT_OF_GAS")
    office.pool.clock.saw(NOW + 2)
    assert (await office.demand(headers)).status_code == 200


async def test_a_gpu_is_asked_of_those_that_have_one(office: Office):
    plain, gpu = await office.member(0), await office.member(1)
    body = {"name": "gpu", "cpuNb": 4, "gpuEnabled": True}
    await office.http.post("/workers/register", json=body, headers=gpu)
    bag(office, 1, tag=tag_of(GPU))
    assert (await office.demand(plain)).headers[NO_WORK] == "NEEDS_GPU"
    assert (await office.demand(gpu)).status_code == 200


async def test_a_blocked_worker_gets_nothing(office: Office):
    headers = await office.member(0)
    (task,) = bag(office, 1)
    office.pool.giving.is_blocked = {office.wallet(0).address}.__contains__
    refused = await office.demand(headers)
    assert (refused.status_code, refused.headers[NO_WORK]) == (204, "BLOCKED")
    assert not office.pool.engine.states[str(task)].replicates


async def test_a_second_opinion_is_asked_of_another_owner(office: Office):
    members = [await office.member(number) for number in range(3)]
    for number in (0, 1):
        office.pool.roster.owned(office.wallet(number).address, "one firm")
    waiting = Waiting(office)
    async with anyio.create_task_group() as group:
        for number, headers in enumerate(members):
            group.start_soon(waiting.demand, number, headers)
            await anyio.wait_all_tasks_blocked()
        bag(office, 1, trust=4)
        with anyio.fail_after(20):
            while len(waiting.ended) < 2:
                await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    assert sorted(waiting.given) == [0, 2], "though wallet 1 waits longer than wallet 2"


async def test_an_owner_is_what_was_said_or_else_the_address_it_calls_from(office: Office):
    roster = office.pool.roster
    one, two, three = (office.wallet(number).address for number in range(3))
    roster.calls_from(one, "198.51.100.7")
    roster.calls_from(two, "198.51.100.7")
    roster.calls_from(three, "127.0.0.1")
    assert roster.kin(one) == {two}
    assert roster.kin(three) == frozenset(), "this machine is nobody's"
    roster.owned(two, "somebody")
    assert roster.kin(one) == frozenset()
    roster.owned(two, "")
    assert roster.kin(one) == {two}


async def test_when_the_last_of_those_called_hangs_up_another_is_called(office: Office):
    """An opening is never forgotten because the one that was to look at it has gone."""
    members = [await office.member(number) for number in range(2)]
    waiting = Waiting(office)
    async with anyio.create_task_group() as group:
        gone = anyio.CancelScope()

        async def leave() -> None:
            with gone:
                await office.pool.demand(office.wallet(0).address, 20)

        group.start_soon(leave)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(waiting.demand, 1, members[1])
        await anyio.wait_all_tasks_blocked()
        (task,) = bag(office, 1)
        gone.cancel()
    assert waiting.given == {1: [str(task)]}


async def test_nobody_is_told_what_is_not_written(office: Office, monkeypatch: Any):
    headers = await office.member(0)
    (task,) = bag(office, 1)
    append = office.journal.append

    def full(*args: Any, **kwargs: Any) -> int:
        append(*args, **kwargs)
        raise DiskTrouble("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(office.journal, "append", full)
        assert (await office.demand(headers)).status_code == 503
    assert not office.pool.engine.states[str(task)].replicates
    assert (await office.demand(headers)).status_code == 200
    feed = await office.http.get("/replicates/facts", headers=headers)
    assert [each["kind"] for each in feed.json()["news"]] == ["Assigned"]


async def test_a_restart_finds_what_was_open(office: Office, tmp_path: Path):
    (task,) = bag(office, 1, trust=4)
    headers = await office.member(0)
    assert (await office.demand(headers)).status_code == 200
    async with Rpc([office.chain.url]) as rpc:
        again = await opened(office.chain, tmp_path, rpc)
        assert again.pool.openings.wants(task)
        assert again.pool.openings.busy(office.wallet(0).address) == 1
        async with again.http:
            second = await again.member(1)
            answer = await again.demand(second)
            assert answer.status_code == 200, answer.headers
        again.journal.close()
