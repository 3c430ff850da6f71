"""The scheduler as its workers and the public meet it: real routes, real chain."""

from __future__ import annotations

from typing import Any

import anyio
import httpx2
import pytest
from scheduler_office import NOW, Office, opened, ref

from tallystick.chain.rpc import Rpc
from tallystick.chain.wallet import Wallet
from tallystick.lifecycle.facts import Contributed, Revealed, UploadRequested
from tallystick.poco.values import Address, Digest, Hash, Tag, TaskId
from tallystick.wire.auth import Tokens, log_challenge_hash, login_digest

pytestmark = pytest.mark.anyio

MEMBER_ROUTES = [
    ("POST", "/workers/ping"),
    ("POST", "/workers/register"),
    ("GET", "/workers/computing"),
    ("GET", "/replicates/available?blockNumber=1"),
    ("GET", "/replicates/facts"),
    ("POST", f"/replicates/0x{'11' * 32}/updateStatus"),
]


@pytest.mark.parametrize(("verb", "route"), MEMBER_ROUTES)
async def test_members_only(office: Office, verb: str, route: str):
    me = office.wallet(0).address
    elsewhere = Tokens(b"?" * 32, pool=Address(b"\x09" * 20)).issue(me)
    body = {"name": "x", "status": "STARTING"} if verb == "POST" else None
    for token in ("Bearer ", "Bearer nonsense", f"Bearer {elsewhere}", elsewhere):
        answer = await office.http.request(
            verb, route, json=body, headers={"authorization": token}
        )
        assert (answer.status_code, answer.json()["error"]) == (401, "Unauthorized")
        assert "Retry-After" not in answer.headers, "v9 workers would not log in again"
    for missing in ({}, {"authorization": ""}):
        answer = await office.http.request(verb, route, json=body, headers=missing)
        assert answer.status_code == 400, "v9 workers log in again after a 401 only"


async def test_a_login_with_somebody_elses_key_is_refused(office: Office):
    who = {"walletAddress": str(office.wallet(0).address)}
    challenge = await office.http.get("/workers/challenge", params=who)
    forged = office.wallet(1).sign_hash(login_digest(challenge.text))
    answer = await office.http.post(
        "/workers/login", params=who, json={"value": "0x" + forged.hex()}
    )
    assert answer.status_code == 401
    assert (await office.http.get("/workers/challenge")).status_code == 400


async def test_a_waiting_worker_gets_the_task_when_it_opens(office: Office):
    headers = await office.member(0)
    task = office.buy()
    answers: list[httpx2.Response] = []

    async def wait() -> None:
        answers.append(await office.demand(headers, wait=20))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            assert answers == []
            office.open(task)
    offer = answers[0].json()
    permission = offer["workerpoolAuthorization"]
    assert permission["chainTaskId"] == str(task)
    assert permission["workerWallet"] == str(office.wallet(0).address)
    assert offer["fromBlock"] == 2
    feed = (await office.http.get("/replicates/facts", headers=headers)).json()
    assert [news["kind"] for news in feed["news"]] == ["Assigned"]
    assert feed["news"][0]["authorization"] == permission


async def test_a_java_worker_gets_exactly_its_fields(office: Office):
    headers = await office.member(0)
    assert (await office.demand(headers)).status_code == 204
    office.open(office.buy())
    offer = (await office.demand(headers)).json()
    assert offer.keys() == {"workerpoolAuthorization", "smsUrl"}
    assert offer["workerpoolAuthorization"].keys() == {
        "chainTaskId",
        "dealId",
        "taskIndex",
        "workerWallet",
        "enclaveChallenge",
        "signature",
    }


async def test_slots_replicates_and_enclaves(office: Office):
    one, two = await office.member(0, slots=1), await office.member(1, slots=2)
    office.open(office.buy(1, trust=2**4))
    office.open(office.buy(2, trust=2**4))
    tee = office.buy(3, tag=Tag(bytes(31) + b"\x09"))
    office.open(tee)
    assert (await office.demand(one)).status_code == 200
    assert (await office.demand(one)).status_code == 204, "its slot is taken"
    had = {(await office.demand(two)).json()["workerpoolAuthorization"]["chainTaskId"]}
    had.add((await office.demand(two)).json()["workerpoolAuthorization"]["chainTaskId"])
    assert len(had) == 2, "one replicate of each task"
    assert str(tee) not in had
    assert (await office.demand(two)).status_code == 204


async def test_a_life_in_reports(office: Office):
    headers, me = await office.member(0), office.wallet(0).address
    task = office.buy()
    office.open(task)
    await office.demand(headers)
    for status, answer in [
        ("STARTING", "PLEASE_CONTINUE"),
        ("STARTED", "PLEASE_DOWNLOAD_APP"),
        ("APP_DOWNLOADING", "PLEASE_CONTINUE"),
        ("APP_DOWNLOADED", "PLEASE_DOWNLOAD_DATA"),
        ("DATA_DOWNLOADING", "PLEASE_CONTINUE"),
        ("DATA_DOWNLOADED", "PLEASE_COMPUTE"),
        ("COMPUTING", "PLEASE_CONTINUE"),
    ]:
        assert await office.report(headers, task, status) == (200, answer)
    assert await office.report(headers, task, "STARTED") == (208, "PLEASE_WAIT")
    assert await office.report(headers, task, "RESULT_UPLOADING") == (202, "PLEASE_ABORT")
    status, refusal = await office.report(headers, task, "WORKER_LOST")
    assert (status, refusal["error"]) == (400, "Bad Request")
    logs = {"stdout": "42", "stderr": ""}
    done = await office.report(headers, task, "COMPUTED", exitCode=0, computeLogs=logs)
    assert done == (200, "PLEASE_CONTRIBUTE")
    assert await office.report(headers, task, "CONTRIBUTED") == (200, "PLEASE_WAIT")
    mine = office.pool.engine.states[str(task)].replicates[me]
    assert mine.vote is None, "only the chain tells who voted"


async def test_an_upload_is_believed_when_the_store_has_it(office: Office):
    headers, me = await office.member(0), office.wallet(0).address
    task = office.buy()
    office.open(task)
    await office.demand(headers)
    stream, vote = str(task), Hash(b"\x07" * 32)
    office.pool.engine.record(stream, Contributed(me, vote, 2), ref(3, 0))
    office.pool.engine.record(stream, Revealed(me, Digest(b"\x08" * 32)), ref(4, 0))
    office.pool.engine.record(stream, UploadRequested(me, NOW + 120))
    link = '{ "storage": "ipfs", "location": "/ipfs/x" }'
    lie = await office.report(headers, task, "RESULT_UPLOADED", resultLink=link)
    assert lie == (202, "PLEASE_ABORT")
    office.stored.add((stream, link))
    assert await office.report(headers, task, "RESULT_UPLOADED", resultLink=link) == (
        200,
        "PLEASE_WAIT",
    )


async def test_reports_about_what_is_not_ours_are_refused(office: Office):
    mine, other = await office.member(0), await office.member(1)
    task = office.buy()
    office.open(task)
    await office.demand(mine)
    assert await office.report(other, task, "STARTING") == (202, "PLEASE_ABORT")
    unknown = TaskId(b"\x77" * 32)
    assert await office.report(mine, unknown, "STARTING") == (202, "PLEASE_ABORT")
    big = {"status": "COMPUTED", "details": {"computeLogs": {"stdout": "x" * (3 << 20)}}}
    answer = await office.http.post(f"/replicates/{task}/updateStatus", json=big, headers=mine)
    assert answer.status_code == 413


async def test_a_lost_worker_is_replaced_at_once_and_welcomed_back(office: Office):
    lost, next_one = await office.member(0), await office.member(1)
    task = office.buy()
    office.open(task)
    await office.demand(lost)
    assert (await office.demand(next_one)).status_code == 204
    office.pool.roster._heard[office.wallet(0).address] -= 31
    office.pool.mark_lost(30)
    assert (await office.demand(next_one)).status_code == 200
    await office.member(0)
    story = (await office.http.get(f"/tasks/{task}/story")).json()
    statuses = {r["worker"]: r["modern"] for r in story["replicates"]}
    assert statuses[str(office.wallet(0).address)] == "RECOVERING"


async def test_a_restart_forgets_nothing(office: Office, shared_chain: Any):
    headers = await office.member(0)
    task = office.buy()
    office.open(task)
    await office.demand(headers)
    feed = (await office.http.get("/replicates/facts", headers=headers)).json()
    async with Rpc([shared_chain.url]) as rpc:
        after = await opened(shared_chain, office.folder, rpc)
        async with after.http:
            assert after.pool.engine.states == office.pool.engine.states
            assert (await after.http.post("/workers/ping", headers=headers)).status_code == 200
            params = {"after": feed["next"], "of": feed["of"]}
            again = await after.http.get("/replicates/facts", params=params, headers=headers)
            assert again.json()["news"] == feed["news"], "another process, another cursor"
            assert again.json()["of"] != feed["of"]
            same = await after.http.get("/workers/config")
            assert same.json()["workerPoolAddress"] == str(shared_chain.workerpool)


async def test_logs_are_for_the_requester(office: Office):
    headers = await office.member(0)
    task = office.buy()
    office.open(task)
    await office.demand(headers)
    url, requester = f"/tasks/{task}/logs", Wallet(office.chain.requester.key)
    assert (await office.http.get(url)).status_code == 401

    async def read_as(wallet: Wallet, claimed: Address) -> int:
        ask = await office.http.get("/tasks/logs/challenge", params={"address": str(claimed)})
        text = ask.json()["message"]["challenge"]
        digest = log_challenge_hash(office.hub.domain.chain_id, text)
        token = f"{digest}_0x{wallet.sign_hash(digest).hex()}_{claimed}"
        return (await office.http.get(url, headers={"authorization": token})).status_code

    assert await read_as(office.wallet(0), office.wallet(0).address) == 403
    assert await read_as(office.wallet(0), requester.address) == 401
    assert await read_as(requester, requester.address) == 404, "nothing was printed yet"
    for status in ("STARTED", "APP_DOWNLOADED", "DATA_DOWNLOADED"):
        await office.report(headers, task, status)
    await office.report(headers, task, "COMPUTED", exitCode=0, computeLogs={"stdout": "42"})
    assert await read_as(requester, requester.address) == 200


async def test_the_public_side(office: Office):
    headers = await office.member(0)
    task = office.buy()
    office.open(task)
    await office.demand(headers)
    model = (await office.http.get(f"/tasks/{task}")).json()
    assert model["currentStatus"] == "INITIALIZED"
    assert model["initializationBlockNumber"] == 2
    assert [s["status"] for s in model["dateStatusList"]] == ["RECEIVED", "INITIALIZED"]
    (replicate,) = model["replicates"]
    assert replicate["currentStatus"] == "CREATED"
    assert (await office.http.get(f"/tasks/0x{'00' * 32}")).status_code == 404
    assert (await office.http.get("/tasks/nonsense")).status_code == 400
    metrics = (await office.http.get("/metrics")).json()
    assert metrics["aliveWorkers"] == 1
    assert metrics["aliveComputingCpu"] == 1
    assert metrics["currentTaskStatusesCount"] == {"INITIALIZED": 1}


async def test_the_page_escapes_what_workers_say(office: Office):
    headers = await office.login(office.wallet(0))
    evil = {"name": "<script>alert(1)</script>", "cpuNb": 1}
    await office.http.post("/workers/register", json=evil, headers=headers)
    page = await office.http.get("/")
    assert "<script>" not in page.text
    assert "&lt;script&gt;" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
