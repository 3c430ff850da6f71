"""What a scheduler tells everybody, and what guards it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import anyio
import httpx2
import pytest
from scheduler_office import NOW, Office, opened, settings

from tallystick.chain.records import Head
from tallystick.chain.rpc import Rpc
from tallystick.engine.errors import DiskTrouble
from tallystick.poco.orders import WorkerpoolOrder
from tallystick.poco.values import Hash
from tallystick.scheduler.front import bare, front
from tallystick.scheduler.reference import document
from tallystick.wire.auth import login_digest
from tallystick.wire.orders import to_json

pytestmark = pytest.mark.anyio

STRANGER = "203.0.113.9"
PROXY = "192.0.2.1"


def guarded(office: Office, **wanted: Any) -> Any:
    """The same pool behind the doors that these settings make."""
    config = replace(settings(office.chain, office.folder), **wanted)

    async def is_uploaded(task: object, link: object) -> bool:
        return False

    return front(config, office.pool, office.journal, is_uploaded)


def caller(app: Any, address: str = STRANGER) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app, client=(address, 4711), raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url="http://pool")


async def test_long_lists_come_in_pages(office: Office):
    tasks = [office.buy(number) for number in range(1, 8)]
    seen, pages, url = list[str](), 0, "/tasks?limit=3"
    while url:
        answer = await office.http.get(url)
        seen += [task["chainTaskId"] for task in answer.json()]
        if pages == 0:
            office.buy(9)  # a list that grows shows nothing twice
        url, pages = (
            next(iter(re.findall("<(.*?)>", answer.headers.get("link", ""))), ""),
            pages + 1,
        )
    assert (seen, pages) == ([str(task) for task in reversed(tasks)], 3)
    deal = office.pool.engine.states[str(tasks[2])].deal.id
    of_deal = (await office.http.get(f"/tasks?deal={deal}")).json()
    assert [task["chainTaskId"] for task in of_deal] == [str(tasks[2])]
    assert (await office.http.get("/tasks?status=RUNNING")).json() == []
    lost = await office.http.get(f"/tasks?after=0x{'77' * 32}")
    assert (lost.status_code, "begin without" in lost.json()["message"]) == (400, True)


async def test_deals_and_workers(office: Office):
    headers = await office.member(0, slots=2)
    task = office.buy(3, trust=5)
    office.open(task)
    await office.demand(headers)
    deal = office.pool.engine.states[str(task)].deal
    (found,) = (await office.http.get("/deals")).json()
    assert found == (await office.http.get(f"/deals/{deal.id}")).json()
    assert (found["trust"], found["tasks"]) == (5, {"INITIALIZED": 1})
    assert (await office.http.get(f"/deals/0x{'55' * 32}")).status_code == 404
    me = office.wallet(0).address
    worker = (await office.http.get(f"/workers/{me}")).json()
    assert (worker["busy"], worker["slots"], worker["tasks"]) == (1, 2, [str(task)])
    assert (await office.http.get(f"/workers/{office.wallet(4).address}")).status_code == 404
    history = (await office.http.get(f"/tasks/{task}/replicates/{me}/history")).json()
    assert [row["fact"] for row in history] == ["Assigned"]


async def test_orders_are_those_on_the_shelf(office: Office):
    assert (await office.http.get("/orders")).json() == []
    order = WorkerpoolOrder(
        workerpool=office.chain.workerpool, price=7, volume=9, salt=Hash(bytes(32))
    )

    class Kept:
        hash, remaining = Hash(b"\x07" * 32), 4

    class Shelf:
        def on_offer(self) -> list[Any]:
            kept: Any = Kept()
            kept.order = order
            return [kept]

    office.app.state.window.orders = Shelf()
    (offer,) = (await office.http.get("/orders")).json()
    assert offer == {"orderHash": str(Kept.hash), "remaining": "4", "order": to_json(order)}


async def test_a_scheduler_is_ready_when_journal_chain_and_engine_are(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    signs = office.app.state.vitals
    assert (await office.http.get("/health")).json() == {"status": "UP", "reasons": []}
    answer = await office.http.get("/ready")
    assert answer.status_code == 503
    assert [why.split()[0] for why in answer.json()["reasons"]] == ["No", "The"]
    signs.recovered, signs.clock = True, lambda: NOW + 5
    signs.head = lambda: Head(7, Hash(bytes(32)), Hash(bytes(32)), NOW)
    assert (await office.http.get("/ready")).status_code == 200
    signs.clock = lambda: NOW + 500
    (why,) = (await office.http.get("/ready")).json()["reasons"]
    assert why.startswith("The newest block is 500 s old")
    signs.clock = lambda: NOW
    trouble = DiskTrouble("no room")

    def full(key: str, value: str) -> None:
        raise trouble

    monkeypatch.setattr(office.journal, "note", full)
    office.journal.trouble = trouble
    (why,) = (await office.http.get("/ready")).json()["reasons"]
    assert why.startswith("The journal cannot be written")
    assert "tally_journal_trouble 1.0" in (await office.http.get("/prometheus")).text
    assert (await office.http.get("/health")).status_code == 200, "it lives all the same"


async def test_prometheus_reads_what_happened(office: Office):
    signs = office.app.state.vitals
    signs.head, signs.clock = (
        lambda: Head(7, Hash(bytes(32)), Hash(bytes(32)), NOW),
        lambda: NOW + 4,
    )
    signs.followed, signs.pending, signs.gas_spent = lambda: 5, lambda: (NOW - 6,), lambda: 42
    headers, task = await office.member(0), office.buy()
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: office.demand(headers, wait=20))
            await anyio.wait_all_tasks_blocked()
            office.open(task)
    text = (await office.http.get("/prometheus")).text
    for line in (
        'tally_tasks{status="INITIALIZED"} 1.0',
        'tally_replicates{status="assigned"} 1.0',
        "tally_workers_alive 1.0",
        "tally_slots_busy 1.0",
        "tally_assignments_total 1.0",
        "tally_push_seconds_count 1.0",
        "tally_chain_head 7.0",
        "tally_chain_head_age_seconds 4.0",
        "tally_chain_lag_blocks 2.0",
        "tally_transactions_pending 1.0",
        "tally_transaction_oldest_seconds 10.0",
        "tally_gas_spent_wei_total 42.0",
        "tally_journal_trouble 0.0",
    ):
        assert line in text, line
    figures = (await office.http.get("/pool")).json()
    assert (figures["assignments"], figures["slotsBusy"], figures["head"]) == (1, 1, 5)


async def test_an_address_that_asks_too_often_is_told_when_to_come_back(office: Office):
    app = guarded(office, requests_per_address=1.0)
    async with caller(app) as mine, caller(app, "203.0.113.10") as other:
        answers = [(await mine.get("/version")).status_code for _ in range(8)]
        assert answers[:4] == [200] * 4
        assert answers[-1] == 429
        refused = await mine.get("/version")
        assert int(refused.headers["retry-after"]) >= 1
        assert STRANGER in refused.json()["message"]
        assert (await other.get("/version")).status_code == 200
    async with caller(app, "127.0.0.1") as local:
        assert {(await local.get("/version")).status_code for _ in range(20)} == {200}
    async with caller(app, "2001:db8::1") as one, caller(app, "2001:db8::ffff") as two:
        answers = [(await each.get("/version")).status_code for each in (one, two) * 4]
        assert answers[-1] == 429, "who has one address of version 6 has 2**64 of them"


async def test_a_wallet_that_asks_too_often_stops_no_other(office: Office):
    app = guarded(office, requests_per_wallet=0.5)
    http = office.http
    office.http = caller(app, "127.0.0.1")
    mine, other = await office.member(0), await office.member(1)
    answers = [
        (await office.http.post("/workers/ping", headers=mine)).status_code for _ in range(9)
    ]
    assert (answers[0], answers[-1]) == (200, 429)
    assert (await office.http.post("/workers/ping", headers=other)).status_code == 200
    await office.http.aclose()
    office.http = http


async def test_what_a_stranger_says_of_proxies_is_not_believed(office: Office):
    """Neither to escape a limit, nor to have links made that lead elsewhere."""
    app = guarded(office, requests_per_address=1.0, trusted_proxies=(f"{PROXY}/32",))
    task = office.buy()
    office.open(task)
    await office.demand(await office.member(0))
    one = f"/tasks/{task}/replicates/{office.wallet(0).address}"
    lies = {
        "x-forwarded-for": "198.51.100.7",
        "x-forwarded-host": "evil.example",
        "x-forwarded-proto": "https",
        "x-forwarded-prefix": "/evil",
        "forwarded": "for=198.51.100.7;host=evil.example",
    }
    async with caller(app) as http:
        model = (await http.get(one, headers=lies)).json()
        assert model["self"] == f"http://pool{one}"
        codes = [
            (await http.get("/version", headers=lies | {"x-forwarded-for": f"198.51.100.{n}"}))
            for n in range(8)
        ]
        assert codes[-1].status_code == 429
    async with caller(app, PROXY) as http:
        model = (await http.get(one, headers=lies)).json()
        assert model["self"] == f"https://evil.example/evil{one}", "the proxy is believed"
        through = [
            (await http.get("/version", headers={"x-forwarded-for": f"6.6.6.{n}, {STRANGER}"}))
            for n in range(8)
        ]
        assert through[-1].status_code == 429, "what stands before the last hop may be invented"
        bad = await http.get(
            one, headers={"x-forwarded-host": "a b/c", "x-forwarded-for": "::1"}
        )
        assert bad.status_code == 400
    assert (await caller(app, PROXY).get("/version", headers={"x-forwarded-for": "x"})).text


async def test_links_lead_to_the_public_address(office: Office):
    task = office.buy()
    office.open(task)
    await office.demand(await office.member(0))
    one = f"/tasks/{task}/replicates/{office.wallet(0).address}"
    for wanted, place in (
        ({"public_url": "https://pool.example/p/"}, "https://pool.example/p"),
        ({"root_path": "/p"}, "http://pool/p"),
    ):
        async with caller(guarded(office, **wanted)) as http:
            assert (await http.get(one)).json()["self"] == f"{place}{one}"
            if "root_path" in wanted:  # by a proxy that cuts the prefix off, or does not
                assert (await http.get(f"/p{one}")).json()["self"] == f"{place}{one}"


NONSENSE: list[tuple[str, dict[str, str], int]] = [
    ("/tasks?x=" + "y" * 9_000, {}, 414),
    ("/" + "y" * 9_000, {}, 414),
    ("/version", {"x-much": "y" * 40_000}, 431),
    ("/version", {"host": "a b"}, 400),
    ("/version", {"host": "[::1"}, 400),
    ("/version", {"host": "x/../y"}, 400),
    ("/tasks", {"content-length": str(3 << 20)}, 413),
    ("/nowhere", {}, 404),
    ("/tasks/%2e%2e%2f%2e%2e%2fetc%2fpasswd", {}, 404),
    ("/tasks/0x" + "9" * 5_000, {}, 400),
    ("/tasks/0x" + "é" * 64, {}, 400),
    ("/tasks/%00", {}, 400),
    ("/tasks/%ff%fe", {}, 400),
    ("/deals/-1", {}, 400),
    ("/workers/" + "1" * 400, {}, 400),
    ("/tasks?limit=99999999999999999999999", {}, 400),
    ("/tasks?limit=0", {}, 400),
    ("/tasks?limit[]=1&limit=2&limit=x", {}, 400),
    ("/tasks?status=<script>", {}, 400),
    ("/tasks?after=%F0%9F%92%A9", {}, 400),
    (f"/replicates/0x{'11' * 32}/updateStatus", {}, 405),
]


async def test_nonsense_is_refused_in_a_sentence(office: Office):
    async with caller(office.app) as http:
        for path, headers, status in NONSENSE:
            answer = await http.get(path, headers=headers)
            assert (answer.status_code, answer.json()["status"]) == (status, status), path
            assert answer.headers["content-type"] == "application/json"
            assert 10 < len(answer.json()["message"]) <= 1_000


async def test_tokens_that_are_none(office: Office):
    tokens = (
        "Bearer " + "x" * 20_000,
        "Bearer \x7f",
        "Bearer é",
        "bearer x",
        "Bearer a.b.c",
        "_" * 9,
    )
    async with caller(office.app) as http:
        for token in tokens:
            sent = {"authorization": token.encode("latin-1")}
            for path in ("/workers/computing", f"/tasks/0x{'11' * 32}/logs"):
                assert (await http.get(path, headers=sent)).status_code in (401, 403)


async def test_a_signature_is_good_for_one_login(office: Office):
    wallet = office.wallet(0)
    who = {"walletAddress": str(wallet.address)}
    challenge = (await office.http.get("/workers/challenge", params=who)).text
    body = {"value": "0x" + wallet.sign_hash(login_digest(challenge)).hex()}
    first = await office.http.post("/workers/login", params=who, json=body)
    assert first.status_code == 200
    again = await office.http.post("/workers/login", params=who, json=body)
    assert (again.status_code, "ask for one" in again.json()["message"]) == (401, True)


async def test_a_worker_speaks_for_itself_only(office: Office):
    mine, other = await office.member(0), await office.member(1)
    task = office.buy()
    office.open(task)
    await office.demand(mine)
    before = office.pool.engine.states[str(task)]
    assert await office.report(other, task, "STARTED") == (202, "PLEASE_ABORT")
    assert (await office.http.get("/workers/computing", headers=other)).json() == []
    feed = (await office.http.get("/replicates/facts", headers=other)).json()
    assert feed["news"] == []
    logs = await office.http.get(f"/tasks/{task}/logs", headers=mine)
    assert logs.status_code == 401, "the logs are the requester's"
    assert office.pool.engine.states[str(task)] == before


async def test_a_bug_is_no_story_for_strangers(office: Office, monkeypatch: Any):
    def broken() -> None:
        raise RuntimeError("secret of /root/keys")

    monkeypatch.setattr(office.app.state.window.pool, "tasks", broken)
    async with caller(office.app) as http:
        answer = await http.get("/tasks")
    assert answer.status_code == 500
    assert "operator" in answer.json()["message"]
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text


async def test_the_page_needs_nothing_from_elsewhere(office: Office):
    page = await office.http.get("/docs")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    linked = re.findall(r"(?:src|href)=\"?([^\" >]+)", page.text)
    assert "/openapi.json" in linked
    assert all(link.startswith(("/", "#")) for link in linked)
    served = (await office.http.get("/openapi.json")).json()
    assert served == document(bare())
    for path, verbs in served["paths"].items():
        assert path in page.text
        for operation in verbs.values():
            assert len(operation["description"]) > 10, path
            assert "422" not in operation["responses"], path


async def test_a_restart_knows_its_deals(office: Office, shared_chain: Any, tmp_path: Any):
    office.buy(4)
    async with Rpc([shared_chain.url]) as rpc:
        again = await opened(shared_chain, tmp_path, rpc)
        async with again.http:
            assert len((await again.http.get("/deals")).json()) == 1
        again.journal.close()
