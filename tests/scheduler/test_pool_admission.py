"""Who may work for a pool, asked over HTTP: and what those read who may not."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from scheduler_office import Office, settings

from tallystick.scheduler.admission import Admission

pytestmark = pytest.mark.anyio

OURS = {"user-agent": "tallystick/0.1.0"}


def door(office: Office, **rules: Any) -> Admission:
    """The office's door, with these settings."""
    config = replace(settings(office.chain, office.folder), **rules)
    made = Admission(office.journal, config, office.pool.wallet.address)
    office.app.state.desk = replace(office.app.state.desk, admission=made)
    office.pool.giving.is_blocked = made.is_blocked
    return made


async def register(
    office: Office, number: int, headers: dict[str, str] | None = None, **model: Any
) -> tuple[int, str]:
    """The answer to a worker that starts."""
    body = {"name": f"w{number}", "cpuNb": 1, **model}
    token = await office.login(office.wallet(number))
    answer = await office.http.post(
        "/workers/register", json=body, headers={**token, **(headers or OURS)}
    )
    return answer.status_code, answer.text


async def test_only_wallets_of_the_whitelist_may_log_in(office: Office):
    door(office, whitelist=(office.wallet(0).address,))
    await office.login(office.wallet(0))
    await office.login(office.pool.wallet)  # the owner's scripts
    who = {"walletAddress": str(office.wallet(1).address)}
    for answer in (
        await office.http.get("/workers/challenge", params=who),
        await office.http.post("/workers/login", params=who, json={"value": "0x" + "00" * 65}),
    ):
        assert answer.status_code == 401
        assert "not on this pool's whitelist" in answer.text


@pytest.mark.parametrize(
    ("required", "program", "status"),
    [
        ("", "tallystick/0.0.1", 200),
        ("0.1.0", "tallystick/0.1.0", 200),
        (">=9.2,<10", "tallystick/0.1.0", 200),  # it speaks as a worker of 9.2
        (">=10", "tallystick/0.1.0", 403),
        ("0.2.0", "tallystick/0.1.0", 403),
        (">=10", "Java/17.0.1", 200),  # it compares itself, with what it is told
    ],
)
async def test_the_required_version(office: Office, required: str, program: str, status: int):
    door(office, required_worker_version=required)
    code, text = await register(office, 0, {"user-agent": program})
    assert code == status
    assert status == 200 or f"workers of version {required}" in text


@pytest.mark.parametrize(
    ("required", "ours", "peers"),
    [
        ("9.2.0", "9.2.0", "9.2.0"),  # peers compare themselves
        (">=9.0.1,<10", ">=9.0.1,<10", ""),  # which they would take for a version
        ("<9.1", "<9.1", ""),
        (">=10", ">=10", ">=10"),  # none of them is that new: it keeps them out
        ("", "", ""),
    ],
)
async def test_who_is_told_what_of_the_required_version(
    office: Office, required: str, ours: str, peers: str
):
    desk = office.app.state.desk
    config = desk.config.model_copy(update={"required_worker_version": required})
    office.app.state.desk = replace(desk, config=config)
    for program, told in (("tallystick/0.1.0", ours), ("Java/17.0.1", peers), ("", peers)):
        answer = await office.http.get("/workers/config", headers={"user-agent": program})
        assert answer.json()["requiredWorkerVersion"] == told


@pytest.mark.parametrize("rule", [">=9;<10", "the newest", ">=9,nonsense"])
async def test_a_rule_about_versions_that_nobody_can_keep_is_refused(office: Office, rule: str):
    with pytest.raises(ValueError, match="no range of versions"):
        replace(settings(office.chain, office.folder), required_worker_version=rule)


async def test_a_machine_without_what_the_pool_asks_for(office: Office):
    door(office, required_tag=("tee", "gpu"))
    code, text = await register(office, 0, teeEnabled=True)
    assert code == 403
    assert "only machines with gpu" in text
    assert (await register(office, 0, teeEnabled=True, gpuEnabled=True))[0] == 200


async def test_a_blocked_worker_is_told_why_and_gets_nothing(office: Office):
    made = door(office)
    task = office.buy()
    office.open(task)
    headers = await office.member(0)
    worker = office.wallet(0).address
    made.block(worker, "it smells")
    answer = await office.demand(headers)
    assert (answer.status_code, answer.headers["x-no-work"]) == (204, "BLOCKED")
    code, text = await register(office, 0)
    assert code == 403
    assert f"has blocked wallet {worker}: it smells" in text
    again = Admission(office.journal, settings(office.chain, office.folder), worker)
    assert [each.why for each in again.blocked()] == ["it smells"], "it outlives a restart"
    assert made.unblock(worker)
    assert (await register(office, 0))[0] == 200
    assert (await office.demand(headers)).status_code == 200


async def test_a_blocked_worker_may_finish_what_it_holds(office: Office):
    made = door(office)
    task = office.buy()
    office.open(task)
    headers = await office.member(0)
    assert (await office.demand(headers)).status_code == 200
    made.block(office.wallet(0).address)
    assert (await register(office, 0))[0] == 200
    assert (await office.report(headers, task, "STARTED"))[0] == 200


async def test_a_pool_that_ends_begins_nothing(office: Office):
    """A task that somebody has goes on to be given, as it may need more votes."""
    begun, fresh = office.buy(1, trust=5), office.buy(2)
    office.open(begun)
    one, two = await office.member(0), await office.member(1)
    assert (await office.demand(one)).status_code == 200
    office.open(fresh)
    office.pool.giving.begin_new(False)
    answer = await office.demand(two)
    assert named(answer.content) == str(begun)
    three = await office.member(2)
    assert named((await office.demand(three)).content) == str(begun)
    answer = await office.demand(await office.member(3))
    assert (answer.status_code, answer.headers["x-no-work"]) == (204, "POOL_DRAINS")
    office.pool.giving.begin_new(True)
    answer = await office.demand(await office.member(3))
    assert named(answer.content) == str(fresh)


def named(content: bytes) -> str:
    """The task of an offer."""
    return json.loads(content)["workerpoolAuthorization"]["chainTaskId"]


@pytest.mark.parametrize("rules", [{"required_tag": ("scone",)}, {"eth_per_rlc": Decimal(0)}])
async def test_settings_that_nobody_could_fulfil_are_refused(
    office: Office, rules: dict[str, Any]
):
    with pytest.raises(ValueError, match=next(iter(rules))):
        door(office, **rules)
