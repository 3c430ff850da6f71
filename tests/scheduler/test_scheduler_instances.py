"""A wallet belongs to the instance that registered last."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from scheduler_office import Office

from tallystick.scheduler.roster import AT_WORK, Roster, WalletTaken
from tallystick.wire.scheduler import INSTANCE, WorkerModel

pytestmark = pytest.mark.anyio


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def named(name: str) -> dict[str, str]:
    return {INSTANCE: name}


async def register(office: Office, me: dict[str, str], name: str, **query: str) -> Any:
    body = {"name": f"name of {name}", "cpuNb": 1}
    headers = me | (named(name) if name else {})
    return await office.http.post("/workers/register", json=body, headers=headers, params=query)


async def test_a_second_worker_with_the_wallet_of_one_that_runs(office: Office):
    me = await office.login(office.wallet(1))
    assert (await register(office, me, "a")).status_code == 200
    assert (await register(office, me, "a")).status_code == 200, "a restart is let in at once"
    refused = await register(office, me, "b")
    assert refused.status_code == 409
    assert refused.json()["message"] == (
        "wallet already used by worker name of a, last seen 0 s ago; stop it or use another"
        " wallet"
    )
    assert (await office.http.post("/workers/ping", headers=me | named("a"))).status_code == 200


async def test_only_the_current_instance_speaks(office: Office):
    me = await office.login(office.wallet(2))
    await register(office, me, "a")
    assert (await register(office, me, "b", takeover="true")).status_code == 200
    requests = [
        ("POST", "/workers/ping"),
        ("GET", "/replicates/available?blockNumber=1"),
        ("GET", "/replicates/facts"),
    ]
    for verb, path in requests:
        late = await office.http.request(verb, path, headers=me | named("a"))
        assert (late.status_code, "name of b now" in late.text) == (409, True)
    told = await office.http.post(
        f"/replicates/0x{'1' * 64}/updateStatus",
        json={"status": "STARTED"},
        headers=me | named("a"),
    )
    assert told.status_code == 409
    assert (await office.http.post("/workers/ping", headers=me | named("b"))).status_code == 200


async def test_peers_of_another_make_are_as_before(office: Office):
    """They name no instance, and the last of them to register is the one that counts."""
    me = await office.login(office.wallet(3))
    for _ in range(2):
        assert (await register(office, me, "")).status_code == 200
    assert (await office.http.post("/workers/ping", headers=me)).status_code == 200
    assert (await register(office, me, "ours")).status_code == 200


async def test_who_was_silent_for_long_is_replaced_and_a_restart_forgets_nothing(
    office: Office,
):
    clock, wallet, model = Clock(), office.wallet(4).address, WorkerModel(name="first")
    roster = Roster(office.journal, clock)
    roster.register(wallet, model, instance="a")
    clock.now += AT_WORK - 1
    with pytest.raises(WalletTaken, match="worker first, last seen 59 s ago"):
        roster.register(wallet, model, instance="b")
    # The scheduler restarts: who it knows counts as just heard.
    again = Roster(office.journal, clock)
    with pytest.raises(WalletTaken, match="last seen 0 s ago"):
        again.register(wallet, model, instance="b")
    again.require_current(wallet, "a")
    clock.now += AT_WORK
    again.register(wallet, model, instance="b")
    with pytest.raises(WalletTaken):
        again.require_current(wallet, "a")


async def test_a_worker_that_said_goodbye_leaves_its_wallet(office: Office):
    me = await office.login(office.wallet(3))
    await register(office, me, "a")
    bye = await office.http.post("/workers/leave", headers=me | named("a"))
    assert bye.status_code == 204
    late = await office.http.post("/workers/ping", headers=me | named("a"))
    assert late.status_code == 200, "a request that was on its way brings nobody back"
    assert office.wallet(3).address in office.pool.roster.silent(1e9)
    assert (await register(office, me, "b")).status_code == 200
    assert office.wallet(3).address not in office.pool.roster.silent(1e9)


@pytest.mark.parametrize("path", ["available?blockNumber=1&wait=20", "facts?wait=20"])
async def test_what_is_held_open_for_the_one_that_is_taken_over_ends(office: Office, path: str):
    """Else the next task would go to a process whose reports nobody takes."""
    me = await office.login(office.wallet(4))
    await register(office, me, "a")
    answers = list[int]()

    async def ask() -> None:
        held = await office.http.get(f"/replicates/{path}", headers=me | named("a"))
        answers.append(held.status_code)

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        await register(office, me, "b", takeover="true")
    assert answers == [409]
