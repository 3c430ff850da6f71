"""What strangers send to a scheduler: it is refused in a word, and changes nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import anyio
import pytest
from scheduler_office import NOW, Office, ref

from tallystick.chain.wallet import Wallet
from tallystick.engine.errors import Unavailable
from tallystick.lifecycle.facts import Assigned, Ordered, Uploaded
from tallystick.poco.params import DealParams, encode_params
from tallystick.poco.values import Address, TaskId
from tallystick.scheduler.uploads import Uploads
from tallystick.wire.auth import READING_LIFE, ReadingChallenges, log_challenge_hash
from tallystick.wire.results import ResultsClient, result_link

pytestmark = pytest.mark.anyio


@pytest.fixture
async def held(office: Office) -> tuple[dict[str, str], TaskId]:
    """A member, and the task of which it holds a replicate."""
    headers = await office.member(0)
    task = office.buy()
    office.open(task)
    await office.demand(headers)
    return headers, task


@pytest.mark.parametrize("wait", ["nan", "inf", "-1", "x"])
async def test_nobody_waits_for_ever(office: Office, held: Any, wait: str):
    headers, task = held
    routes = [
        f"/tasks/{task}/story?wait={wait}",
        f"/replicates/facts?wait={wait}",
        f"/replicates/available?blockNumber=1&wait={wait}",
    ]
    with anyio.fail_after(5):
        for route in routes:
            assert (await office.http.get(route, headers=headers)).status_code == 400


@pytest.mark.parametrize("after", [str(2**63), str(-1), "9" * 30, "x", ""])
async def test_a_cursor_is_a_number_of_the_journal(office: Office, held: Any, after: str):
    headers, task = held
    for route in (f"/tasks/{task}/story", "/replicates/facts"):
        answer = await office.http.get(f"{route}?after={after}", headers=headers)
        assert answer.status_code == 400


@pytest.mark.parametrize(
    "details",
    [
        {"cause": "x" * 1_000},
        {"cause": "<b>"},
        {"cause": "UNKNOWN\n"},
        {"exitCode": 10**400},
        {"exitCode": "many"},
        {"resultLink": "x" * 5_000},
        {"computeLogs": {"stdout": "\ud800"}},
        {"computeLogs": []},
        [],
    ],
    ids=lambda details: repr(details)[:30],
)
async def test_details_that_no_worker_sends(office: Office, held: Any, details: Any):
    headers, task = held
    before = office.pool.engine.states[str(task)]
    body = json.dumps({"status": "COMPUTE_FAILED", "details": details})
    route = f"/replicates/{task}/updateStatus"
    answer = await office.http.post(route, content=body.encode(), headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (400, "Bad Request")
    assert office.pool.engine.states[str(task)] == before


@pytest.mark.parametrize(
    "body", [b"", b"nonsense", b"[" * 100_000, b'{"status":' + b"9" * 9_000]
)
async def test_bodies_that_are_no_reports(office: Office, held: Any, body: bytes):
    headers, task = held
    route = f"/replicates/{task}/updateStatus"
    answer = await office.http.post(route, content=body, headers=headers)
    assert answer.status_code == 400


async def test_a_body_without_end_is_cut_off(office: Office, held: Any):
    headers, task = held
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 100 << 20:
            sent += 1 << 16
            yield bytes(1 << 16)

    route = f"/replicates/{task}/updateStatus"
    answer = await office.http.post(route, content=endless(), headers=headers)
    assert answer.status_code == 413
    assert sent < 4 << 20


async def test_only_the_end_of_a_log_is_kept(office: Office, held: Any):
    headers, task = held
    for status in ("STARTED", "APP_DOWNLOADED", "DATA_DOWNLOADED"):
        await office.report(headers, task, status)
    logs = {"stdout": "a" * 150_000 + "end", "walletAddress": "0x" + "99" * 20}
    await office.report(headers, task, "COMPUTED", exitCode=0, computeLogs=logs)
    (kept,) = office.app.state.desk.logs.of(task)
    assert len(kept.stdout) == 100_000
    assert kept.stdout.endswith("end")
    assert kept.wallet_address == office.wallet(0).address, "whoever is named in it"


@pytest.mark.parametrize("model", [{"name": "x" * 300}, {"name": "x", "cpuNb": 2**40}, {}])
async def test_a_worker_that_says_too_much_of_itself(office: Office, model: Any):
    headers = await office.login(office.wallet(0))
    answer = await office.http.post("/workers/register", json=model, headers=headers)
    assert answer.status_code == 400
    assert office.pool.roster.model(office.wallet(0).address) is None


async def test_a_worker_that_is_not_registered_is_told_so(office: Office):
    headers = await office.login(office.wallet(0))
    assert (await office.demand(headers, wait=20)).status_code == 412
    assert (await office.demand(headers)).status_code == 204, "v9 workers know no other answer"


async def test_a_node_that_is_away_is_no_bug_of_ours(office: Office, monkeypatch: Any):
    headers = await office.member(0)
    office.open(office.buy())

    async def away(requests: object) -> list[object]:
        raise Unavailable("https://node.example/v3/secret-key does not answer")

    monkeypatch.setattr(office.pool.hub.rpc, "batch", away)
    answer = await office.demand(headers)
    assert answer.status_code == 503
    assert "ask again" in answer.json()["message"]
    assert "secret-key" not in answer.text, "the address of a node may hold a key"


async def test_what_a_requester_writes_into_a_deal_is_shown_as_it_is(office: Office):
    for number, params in enumerate(
        ("\0<i>", "{", '{"iexec_args":"\\ud800"}', "\ufffd" * 9), 1
    ):
        task = office.buy(number)
        deal = replace(
            office.pool.engine.states[str(task)].deal, params=params, trust=2**256 - 1
        )
        office.pool.engine.record(str(task), Ordered(deal, 0), ref(1, 50 + number))
        answer = await office.http.get(f"/tasks/{task}")
        assert answer.status_code == 200
        assert answer.json()["trust"] == 2**256 - 1
    assert (await office.http.get("/")).status_code == 200
    assert len((await office.http.get("/tasks")).json()) == 4


async def test_a_cursor_of_long_ago_gets_what_still_matters(office: Office):
    headers = await office.member(0, slots=3)
    tasks = [office.buy(number) for number in (1, 2, 3)]
    for task in tasks:
        office.open(task)
        await office.demand(headers)
    feed = (await office.http.get("/replicates/facts", headers=headers)).json()
    assert [news["chainTaskId"] for news in feed["news"]] == [str(task) for task in tasks]
    params = {"after": feed["news"][0]["seq"], "of": feed["of"]}
    rest = (await office.http.get("/replicates/facts", params=params, headers=headers)).json()
    assert rest["news"] == feed["news"][1:]


async def test_logs_of_one_replicate(office: Office, held: Any):
    headers, task = held
    for status in ("STARTED", "APP_DOWNLOADED", "DATA_DOWNLOADED"):
        await office.report(headers, task, status)
    await office.report(headers, task, "COMPUTED", exitCode=0, computeLogs={"stdout": "42"})
    me, requester = office.wallet(0).address, Wallet(office.chain.requester.key)
    model = (await office.http.get(f"/tasks/{task}/replicates/{me}")).json()
    url = model["appLogs"]
    assert (await office.http.get(url)).status_code == 401
    who = {"address": str(requester.address)}
    text = (await office.http.get("/tasks/logs/challenge", params=who)).json()["message"]
    digest = log_challenge_hash(office.hub.domain.chain_id, text["challenge"])
    token = f"0x00_0x{requester.sign_hash(digest).hex()}_{requester.address.checksummed}"
    found = await office.http.get(url, headers={"authorization": token})
    assert found.json() == {"walletAddress": str(me), "stdout": "42", "stderr": ""}
    other = f"/tasks/{task}/replicates/{office.wallet(1).address}/logs"
    assert (await office.http.get(other, headers={"authorization": token})).status_code == 404


def test_a_reading_challenge_lasts_an_hour_and_the_next():
    now = 0.0
    challenges, reader = ReadingChallenges(lambda: now), Address(b"\x01" * 20)
    first = challenges.issue(reader)
    assert challenges.issue(reader) == first != challenges.issue(Address(b"\x02" * 20))
    now += READING_LIFE
    assert challenges.issue(reader) != first
    assert first in challenges.good(reader)
    now += READING_LIFE
    assert first not in challenges.good(reader)
    assert first not in ReadingChallenges(lambda: 0.0).good(reader), "of another process"


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:1", "http://[", "ftp://x", "", "\0"])
async def test_a_store_that_a_deal_names_must_be_public(office: Office, proxy: str):
    task = office.buy()
    deal = replace(
        office.pool.engine.states[str(task)].deal,
        params=encode_params(DealParams(storage_proxy=proxy)),
    )
    office.pool.engine.record(str(task), Ordered(deal, 0), ref(1, 60))
    me = office.wallet(0).address
    async with ResultsClient("http://127.0.0.1:1") as store:
        uploads = Uploads(office.pool.engine.states, store)
        assert not await uploads.has(task, Uploaded(me, "no link"))
        link = result_link("ipfs", "/ipfs/x").decode()
        if proxy in ("", store.url):
            with pytest.raises(Unavailable):
                await uploads.has(task, Uploaded(me, link))
        else:
            assert not await uploads.has(task, Uploaded(me, link))


async def test_the_same_worker_is_not_assigned_twice(office: Office, held: Any):
    headers, task = held
    me = office.wallet(0).address
    before = office.pool.engine.states[str(task)].replicates[me]
    office.pool.clock.saw(NOW + 10)
    assert (await office.demand(headers)).status_code == 204
    assert office.pool.engine.states[str(task)].replicates[me] == before
    assert before.authorization is not None
    facts = [entry.fact for entry in office.journal.read(stream=str(task))]
    assert sum(isinstance(fact, Assigned) for fact in facts) == 1
