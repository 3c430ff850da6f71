"""The pages of a pool as anybody gets them: figures, reasons, lists, and nothing that runs."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import Any

import anyio
import httpx2
import pytest
from scheduler_office import NOW, Office, ref, settings

from tallystick.lifecycle.evidence import Policy
from tallystick.lifecycle.facts import Assigned, Audited, Claimed, Ordered
from tallystick.poco.deal import Asset, Deal
from tallystick.poco.values import Address, DealId, TaskId
from tallystick.scheduler.dashboard.standings import Standing
from tallystick.scheduler.front import front
from tallystick.scheduler.roster import Roster
from tallystick.wire.scheduler import WorkerModel

pytestmark = pytest.mark.anyio

EVIL = "<script>alert(1)</script>\"'{{7*7}}"


@pytest.fixture(autouse=True)
def always_fresh(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look makes its page anew: a test does not wait for seconds to pass."""
    monkeypatch.setattr("tallystick.scheduler.dashboard.crowd._GOOD_FOR", 0.0)
    kept = office.app.state.dashboard.kept
    ticks = iter(range(10**9))
    kept.clock = lambda: float(next(ticks) * 10)
    office.app.state.dashboard.kept.pace = _Restless()


class _Restless:
    """Something changed, whenever anybody asks."""

    def __init__(self) -> None:
        self._count = 0

    @property
    def count(self) -> int:
        self._count += 1
        return self._count


async def page(office: Office, path: str, status: int = 200) -> str:
    answer = await office.http.get(path, headers={"accept-encoding": "identity"})
    assert answer.status_code == status, answer.text
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert "<script>" not in answer.text
    return answer.text


def cell(html: str, id: str) -> str:
    """The text of the part of a page that has this id."""
    found = re.search(rf'<(\w+)[^>]* id="{id}"[^>]*>(.*?)</\1>', html, re.DOTALL)
    assert found, id
    return " ".join(re.sub("<[^>]*>", " ", found[2]).split())


def crowd(office: Office, count: int) -> list[Address]:
    """So many workers that are only registered."""
    found = [Address((number + 1).to_bytes(20, "big")) for number in range(count)]
    for number, worker in enumerate(found):
        model = WorkerModel(
            name=f"w{number:05}", cpu_nb=1 + number % 4, gpu_enabled=number == 7
        )
        office.pool.roster._models[worker] = model
        office.pool.roster.heard(worker)
    return found


async def given(office: Office, number: int = 1) -> tuple[dict[str, str], TaskId]:
    """A worker with a task."""
    headers = await office.member(0)
    task = office.buy(number, trust=4)
    office.open(task)
    assert (await office.demand(headers)).status_code == 200
    return headers, task


async def test_the_overview_tells_what_the_pool_does(office: Office):
    _, task = await given(office)
    await office.member(1, slots=3)
    html = await page(office, "/dashboard")
    assert cell(html, "workers-alive").startswith("Workers alive 2 2 known, 0 lost")
    assert "1 of 4" in cell(html, "slots-busy")
    assert cell(html, "state-INITIALIZED") == "INITIALIZED 1"
    assert 'href="/dashboard/tasks?status=INITIALIZED"' in html
    assert 'href="/dashboard/workers?state=alive"' in html
    assert "No block of the chain is known yet" in cell(html, "health")
    assert await page(office, "/") != ""
    office.pool.engine.record(str(task), Claimed(), ref(9, 1))
    html = await page(office, "/dashboard")
    assert cell(html, "state-FAILED") == "FAILED 1"
    assert "Failed in the last hour 1" in cell(html, "failed-hour")
    assert "state-INITIALIZED" not in html


async def test_what_workers_say_of_themselves_runs_nowhere(office: Office):
    headers = await office.login(office.wallet(0))
    evil = {"name": EVIL, "cpuNb": 1, "os": EVIL, "cpu": EVIL}
    agent = {"user-agent": f"tallystick/{EVIL}"}
    await office.http.post("/workers/register", json=evil, headers=headers | agent)
    address = office.wallet(0).address
    for path in ("/", "/dashboard/workers", f"/dashboard/workers/{address}"):
        html = await page(office, path)
        assert "&lt;script&gt;" in html
        assert "{{7*7}}" in html
    await page(office, "/dashboard/workers?q=%3Cscript%3E&sort=%22&page=9&state=x&machine='")
    assert "Not found" in await page(office, "/dashboard/workers/%3Cscript%3E", 404)


async def test_ten_thousand_workers_come_in_pages(office: Office):
    workers = crowd(office, 10_000)
    html = await page(office, "/dashboard/workers?sort=name&turned=0")
    assert cell(html, "found") == "10,000 of 10,000 workers, page 1 of 200."
    assert len(re.findall('<tr id="w-', html)) == 50
    assert f"w-{workers[0]}" in html
    assert len(html) < 120_000
    html = await page(office, "/dashboard/workers?sort=name&page=200")
    assert f"w-{workers[-1]}" in html
    assert 'rel="next"' not in html
    html = await page(office, "/dashboard/workers?sort=name&page=999999999999")
    assert "page 200 of 200" in html


async def test_workers_are_found_by_name_state_and_machine(office: Office):
    workers = crowd(office, 40)
    html = await page(office, "/dashboard/workers?q=W00013")
    assert cell(html, "found") == "1 of 40 workers."
    assert str(workers[13]) in html
    html = await page(office, f"/dashboard/workers?q={workers[3]}")
    assert cell(html, "found") == "1 of 40 workers."
    assert cell(await page(office, "/dashboard/workers?machine=gpu"), "found").startswith(
        "1 of"
    )
    office.app.state.desk.admission.block(workers[2], "it lies")
    html = await page(office, "/dashboard/workers?state=blocked")
    assert cell(html, "found").startswith("1 of")
    assert "Blocked by the pool&#39;s operator: it lies" in html
    await given(office)
    html = await page(office, "/dashboard/workers?state=working")
    assert cell(html, "found").startswith("1 of")
    assert "w0" in cell(html, "workers")


async def test_workers_are_sorted_both_ways(office: Office):
    crowd(office, 3)
    order = "w00000.*w00001.*w00002"
    assert re.search(order, await page(office, "/dashboard/workers?sort=name"), re.DOTALL)
    html = await page(office, "/dashboard/workers?sort=name&turned=1")
    assert re.search("w00002.*w00001.*w00000", html, re.DOTALL)
    assert 'aria-sort="descending"' in html
    html = await page(office, "/dashboard/workers?sort=busy")
    assert re.search("w00002.*w00001.*w00000", html, re.DOTALL)


async def reason(office: Office, worker: Address) -> tuple[str, str]:
    html = await page(office, f"/dashboard/workers?q={worker}")
    found = re.search(r'data-code="(\w+)">(.*?)</span>', html)
    assert found, html
    return found[1], found[2]


def costly(office: Office) -> TaskId:
    """An open task for which a worker locks 3 RLC."""
    deal = Deal(
        DealId(b"\x63" * 32),
        start=NOW,
        time_unit=300,
        trust=4,
        workerpool=Asset(office.chain.workerpool, office.chain.scheduler.address, 10 * 10**9),
        worker_stake=3 * 10**9,
    )
    task = deal.task_id(0)
    office.pool.engine.record(str(task), Ordered(deal, 0), ref(1, 99))
    office.open(task)
    return task


async def test_why_a_worker_is_idle_is_said_in_words(office: Office):
    headers = await office.member(0)
    worker = office.wallet(0).address
    assert await reason(office, worker) == ("NO_TASK", "No task is open.")
    task = office.buy(1)
    office.open(task)
    assert (await office.demand(headers)).status_code == 200
    html = await page(office, f"/dashboard/workers?q={worker}")
    assert f'href="/dashboard/tasks/{task}"' in html
    assert 'class="soft why"' not in html  # it is busy: there is nothing to explain
    office.pool.roster.left(worker)
    assert (await reason(office, worker))[0] == "LEFT"


async def test_stake_and_gas_are_told_with_amounts(office: Office, monkeypatch: Any):
    await office.member(0)
    worker, place = office.wallet(0).address, office.app.state.dashboard
    costly(office)
    has = Standing(score=0, free=10**9, locked=0, balance=10**14, at=time.time())
    place.standings._of[worker] = has
    code, text = await reason(office, worker)
    assert (code, "short by 2 RLC" in text) == ("STAKE_TOO_LOW", True)
    place.standings._of[worker] = replace(has, free=10**10)
    monkeypatch.setattr(type(place), "gas_price", property(lambda self: 10**9))
    code, text = await reason(office, worker)
    assert (code, "short by 0.0004 ETH" in text) == ("OUT_OF_GAS", True)


async def test_who_does_not_ask_is_told_apart(office: Office, monkeypatch: Any):
    headers = await office.member(0)
    await office.demand(headers)
    worker = office.wallet(0).address
    assert (await reason(office, worker))[0] == "NO_TASK"
    later = anyio.current_time() + 100
    monkeypatch.setattr("tallystick.scheduler.giving.anyio.current_time", lambda: later)
    code, text = await reason(office, worker)
    assert code == "DOES_NOT_ASK"
    assert "tally worker why" in text


async def test_one_worker_shows_what_came_of_its_replicates(office: Office):
    headers, task = await given(office)
    worker = office.wallet(0).address
    path = f"/dashboard/workers/{worker}"
    html = await page(office, path)
    assert cell(html, "current") == str(task)
    await office.report(headers, task, "STARTING")
    await office.report(headers, task, "START_FAILED", cause="CHAIN_UNREACHABLE")
    html = await page(office, path)
    assert ">CHAIN_UNREACHABLE</a>: 1" in html
    assert "START_FAILED" in cell(html, "shares")
    assert "CANT_CONTRIBUTE_SINCE_CHAIN_UNREACHABLE" in cell(html, "shares")
    assert f"{path}?cause=CHAIN_UNREACHABLE#replicates" in html
    html = await page(office, f"{path}?cause=CHAIN_UNREACHABLE")
    assert "that ended with CHAIN_UNREACHABLE" in html
    assert "0 %" in cell(html, "rate")
    await page(office, f"{path}?page=7&cause=%3Cb%3E")
    assert "No worker with this address" in await page(
        office, f"/dashboard/workers/0x{'9' * 40}", 404
    )


def audited(office: Office, number: int, *agreed: bool) -> Address:
    """Audits found this about a worker."""
    worker = office.wallet(number).address
    before = office.pool.audits.told(worker)["audits"]
    for n, each in enumerate(agreed, before):
        task = str(office.buy(50 * (number + 1) + n))
        office.pool.engine.record(task, Assigned(worker, 2))
        office.pool.engine.record(task, Audited(worker, each))
    return worker


async def test_a_worker_shows_what_audits_found(office: Office):
    for number in range(3):
        await office.member(number)
    worker = office.wallet(0).address
    path = f"/dashboard/workers/{worker}"
    assert 'id="audits"' not in await page(office, path), "where nobody audits"
    auditor = office.wallet(2).address
    audits = office.pool.audits
    audits.open(office.journal, Policy(0.05, 8), (auditor,))
    found = "Results audited {} Others computed the same {} Others computed something else {}"

    async def told(worker: Address) -> str:
        return cell(await page(office, f"/dashboard/workers/{worker}"), "audits")

    stranger = "Standing probation All its results are audited, 3 more to go."
    assert await told(worker) == f"{found.format(0, 0, 0)} {stranger}"
    audited(office, 0, True, True)
    assert await told(worker) == f"{found.format(2, 2, 0)} {stranger.replace('3', '1')}"
    audited(office, 0, True)
    assert await told(worker) == (
        f"{found.format(3, 3, 0)} Standing believed Some of its results are audited, by chance."
    )
    liar = audited(office, 1, True, False)
    distrusted = f"{found.format(2, 1, 1)} Standing distrusted It gets no tasks."
    assert await told(liar) == distrusted
    assert "Standing auditor It is the operator" in await told(auditor)
    audits.open(office.journal, None)
    assert await told(liar) == distrusted, "it counts though nobody audits now"
    assert (await told(worker)).endswith("Standing The pool does not audit now.")
    assert 'id="audits"' not in await page(office, f"/dashboard/workers/{auditor}")


async def test_the_version_of_a_worker_is_the_one_it_told(office: Office):
    headers = await office.member(0) | {"user-agent": "tallystick/1.2.3 (Linux)"}
    body = {"name": "w0", "cpuNb": 1}
    await office.http.post("/workers/register", json=body, headers=headers)
    worker = office.wallet(0).address
    assert "1.2.3" in await page(office, f"/dashboard/workers/{worker}")
    assert "1.2.3" in await page(office, "/dashboard/workers")
    assert Roster(office.journal).program(worker) == "tallystick/1.2.3 (Linux)"


async def test_pages_are_packed_and_not_sent_twice(office: Office):
    crowd(office, 1_000)
    plain = await office.http.get("/dashboard/workers", headers={"accept-encoding": "identity"})
    packed = await office.http.get("/dashboard/workers", headers={"accept-encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(plain.content) / 4
    assert "no-cache" in packed.headers["cache-control"]


async def test_the_stream_tells_when_to_look_again(office: Office):
    place = office.app.state.dashboard
    assert place.stream.changes.count >= 0
    before = place.stream.changes.count
    office.buy(1)
    assert place.stream.changes.count > before
    assert await place.stream.changes.next(before, 60) > before


async def test_static_files_and_navigation_are_below_a_proxy_too(office: Office):
    config = replace(settings(office.chain, office.folder), root_path="/pool")
    app = front(config, office.pool, office.journal, office.app.state.desk.is_uploaded)
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://pool") as http:
        html = (await http.get("/dashboard")).text
    assert 'href="/pool/dashboard/workers"' in html
    assert 'src="/pool/static/tally.js' in html
    assert 'data-live="/pool/dashboard/events"' in html
