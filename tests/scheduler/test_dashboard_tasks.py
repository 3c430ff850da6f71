"""The pages of tasks, deals and events: what they tell. Strangers' words stay words."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from typing import Any

import httpx2
import pytest
from scheduler_office import NOW, Office, ref, settings

from tallystick.lifecycle.facts import (
    Assigned,
    ConsensusReached,
    Contributed,
    Fact,
    Failed,
    Finalized,
    Initialized,
    Ordered,
    Revealed,
    Step,
)
from tallystick.poco.deal import Asset, Deal
from tallystick.poco.values import Address, DealId, Digest, Hash, TaskId
from tallystick.scheduler.dashboard.outside import Explorer, Link, result, stranger
from tallystick.scheduler.front import front
from tallystick.scheduler.money import TaskMoney
from tallystick.wire.scheduler import ComputeLogs

pytestmark = pytest.mark.anyio

EVIL = "</title></textarea><script>alert(1)</script><img src=x onerror=alert(2)>\"'`{{7*7}}"
LINK = "javascript:alert(document.cookie)//<img src=x onerror=alert(3)>"
GOOD, BAD = Hash(bytes([1]) * 32), Hash(bytes([2]) * 32)
ONE, TWO = Address(bytes([0xA1]) * 20), Address(bytes([0xB2]) * 20)


def record(office: Office, task: TaskId, *facts: Fact, block: int = 0) -> None:
    for index, fact in enumerate(facts):
        place = ref(block, index) if block else None
        if place:
            place = replace(place, tx=f"0x{block:02x}{index:02x}{'cd' * 30}")
        office.pool.engine.record(str(task), fact, place)


def buy(office: Office, number: int = 1, **terms: Any) -> TaskId:
    deal = Deal(
        DealId(bytes([number]) * 32),
        start=NOW,
        time_unit=300,
        trust=terms.pop("trust", 4),
        workerpool=Asset(office.chain.workerpool, office.chain.scheduler.address, 10**9),
        requester=office.chain.requester.address,
        worker_stake=3 * 10**8,
        **terms,
    )
    record(office, deal.task_id(0), Ordered(deal, 0), block=number)
    return deal.task_id(0)


def liar(office: Office) -> TaskId:
    """A task on which two agreed and one did not."""
    task = buy(office, 1)
    third = Address(bytes([0xC3]) * 20)
    record(office, task, Initialized(), block=10)
    record(office, task, *(Assigned(who, 2) for who in (ONE, TWO, third)))
    record(
        office,
        task,
        Contributed(ONE, GOOD, 2),
        Contributed(TWO, BAD, 2),
        Contributed(third, GOOD, 2),
        ConsensusReached(GOOD, NOW + 700),
        block=11,
    )
    digest = Digest(bytes([3]) * 32)
    record(office, task, Revealed(ONE, digest), Revealed(third, digest), block=12)
    record(office, task, Finalized("https://store.example/result"), block=13)
    return task


def words(page: str) -> str:
    """What a reader of the page sees."""
    text = re.sub(r"<(style|script|title)\b.*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL)
    return " ".join(unescape(text).split())


async def seen(office: Office, path: str, status: int = 200) -> str:
    answer = await office.http.get(path)
    assert answer.status_code == status, answer.text[-2_000:]
    return answer.text


async def test_a_task_tells_its_whole_story(office: Office):
    task = liar(office)
    page = await seen(office, f"/dashboard/tasks/{task}")
    said = words(page)
    for sentence in (
        "COMPLETED task 0 of deal",
        "It voted with the consensus and proved it: it is paid.",
        "It voted for another result than the consensus: it lost its stake.",
        "the votes weigh 6 in all, with trust 4.",
        "1 RLC, of which 1 RLC for the pool and its workers",
        "A vote locks 0.3 RLC",
        "https://store.example/result (on the chain)",
        "The vote is on the chain.",  # what CONTRIBUTED means
        "The stake is locked until the task ends.",
        "task finalized",
        "Only the deal's requester and the pool's operator may read",
    ):
        assert sentence in said, sentence
    for name in ("CAN_CONTRIBUTE", "RUNNING", "REVEALED", "CONSENSUS_REACHED", "INITIALIZED"):
        assert name in said, name
    assert 'href="https://store.example/result" rel="noreferrer noopener nofollow"' in page
    assert f"0x0d00{'cd' * 30}" in page  # the transaction of the end
    assert re.search(r"Lost \(RLC\)</th>", page)


async def test_who_was_paid_what(office: Office):
    task = liar(office)
    office.app.state.dashboard.book = book = _Book(task)
    said = words(await seen(office, f"/dashboard/tasks/{task}"))
    assert "The pool got 0.5 RLC, and paid 0.003 ETH for gas." in said
    assert "it is paid. 0.4 0" in said
    assert "it lost its stake. 0 0.3" in said
    deal = words(await seen(office, f"/dashboard/deals/0x{'01' * 32}"))
    assert "Earned by the pool 0.5 RLC" in deal
    assert "Gas paid by the pool 0.003 ETH" in deal
    assert "1 of 1 tasks are over" in deal
    assert "0.5 0.003" in words(await seen(office, "/dashboard/deals"))
    assert book.money.completed


class _Book:
    """What the end of the task moved, as the chain would tell it."""

    def __init__(self, task: TaskId) -> None:
        self.money = TaskMoney(
            task=str(task),
            deal=f"0x{'01' * 32}",
            completed=True,
            reward=5 * 10**8,
            gas=3 * 10**15,
            paid={str(ONE): 4 * 10**8},
            forfeited={str(TWO): 3 * 10**8},
        )

    def of(self, stream: str) -> TaskMoney | None:
        return self.money if stream == self.money.task else None

    def by_deal(self) -> dict[str, list[TaskMoney]]:
        return {self.money.deal: [self.money]}

    def watch(self, watcher: object) -> None:
        """It knows everything already."""

    def settled(self) -> list[TaskMoney]:
        return [self.money]


async def test_a_deal_is_counted_again_when_a_task_of_it_changes(office: Office):
    task, path = buy(office), f"/dashboard/deals/0x{'01' * 32}"
    assert "1 RECEIVED" in words(await seen(office, path))
    record(office, task, Initialized(), block=10)
    office.app.state.dashboard.kept.clock = lambda: 1e9  # what was made is old
    assert "1 INITIALIZED" in words(await seen(office, path))
    assert "1 INITIALIZED" in words(await seen(office, "/dashboard/deals"))


async def test_causes_are_told_in_words(office: Office):
    task = buy(office)
    record(office, task, Initialized(), block=10)
    record(office, task, Assigned(ONE, 2), Failed(ONE, Step.START, "STAKE_TOO_LOW"))
    said = words(await seen(office, f"/dashboard/tasks/{task}"))
    assert "START_FAILED" in said
    assert "CANT_CONTRIBUTE_SINCE_STAKE_TOO_LOW" in said
    assert "The worker's free deposit is less than a vote locks. STAKE_TOO_LOW" in said
    assert "It did not vote: no stake was locked, and nothing is paid." in said
    feed = words(await seen(office, "/dashboard/feed"))
    assert "could not go on: start failed. The worker's free deposit is less" in feed


async def test_tasks_are_found(office: Office):
    one, two = liar(office), buy(office, 2, app=Asset(TWO, TWO, 0))
    three = buy(office, 3)

    async def found(query: str) -> list[str]:
        page = await seen(office, f"/dashboard/tasks?{query}")
        return re.findall(r'<tr><td><a href="/dashboard/tasks/(0x[0-9a-f]{64})"', page)

    assert await found("") == [str(three), str(two), str(one)]  # the newest first
    assert await found(f"q={str(two)[:12].upper().replace('0X', '0x')}") == [str(two)]
    assert await found("status=COMPLETED") == [str(one)]
    assert await found(f"worker={TWO}") == [str(one)]
    assert await found(f"app={TWO}") == [str(two)]
    assert await found(f"deal=0x{'03' * 32}") == [str(three)]
    assert len(await found(f"requester={office.chain.requester.address}")) == 3
    assert await found("q=0xnothing") == []
    page = words(await seen(office, "/dashboard/tasks?status=OUT_OF_SPACE"))
    assert "No task is like that." in page


async def test_a_worker_is_found_by_its_name(office: Office):
    headers = await office.member(0)
    task = office.buy(5)
    office.open(task)
    await office.demand(headers)
    page = await seen(office, "/dashboard/tasks?worker=W0")
    assert str(task) in page
    assert ">w0</a>" in await seen(office, f"/dashboard/tasks/{task}")


async def test_long_lists_have_pages(office: Office):
    tasks = [str(buy(office, number)) for number in range(1, 121)]
    path, shown = "/dashboard/tasks", list[str]()
    for _ in range(3):
        page = await seen(office, path)
        shown += re.findall(r'<tr><td><a href="/dashboard/tasks/(0x[0-9a-f]{64})"', page)
        older = re.findall('href="(/dashboard/tasks[?]after=[^"]+)">Older', page)
        path = older[0] if older else ""
    assert (shown, path) == (tasks[::-1], "")
    deals, path = list[str](), "/dashboard/deals"
    while path:
        page = await seen(office, path)
        deals += re.findall(r'<tr><td><a href="/dashboard/deals/(0x[0-9a-f]{64})"', page)
        path = next(iter(re.findall('href="(/dashboard/deals[?]after=[^"]+)">Older', page)), "")
    assert len(set(deals)) == 120
    gone = await seen(office, f"/dashboard/tasks?after=0x{'99' * 32}", 404)
    assert "not there any more" in words(gone)


async def test_what_is_not_there_is_said(office: Office):
    for path, sentence in (
        (f"/dashboard/tasks/0x{'99' * 32}", "No deal with this pool has the task"),
        ("/dashboard/tasks/banana", "A task is named by 0x and 64 hex digits."),
        (f"/dashboard/deals/0x{'99' * 32}", "is no deal with this pool"),
        ("/dashboard/deals/banana", "A deal is named by 0x and 64 hex digits."),
    ):
        page = await seen(office, path, 404)
        assert sentence in words(page)
    assert "There is no task yet" in words(await seen(office, "/dashboard/tasks"))
    assert "There is no deal yet" in words(await seen(office, "/dashboard/deals"))
    assert "Nothing has happened yet" in words(await seen(office, "/dashboard/feed"))


async def test_strangers_words_stay_words(office: Office):
    """Everything that somebody from outside may write, on every page that shows it."""
    headers = await office.login(office.wallet(0))
    body = {"name": EVIL, "cpuNb": 1, "os": EVIL}
    await office.http.post("/workers/register", json=body, headers=headers)
    task = buy(office, 1, params=EVIL, trust=1)
    other = buy(
        office,
        2,
        params=f'{{"iexec_args": "--x", "iexec_input_files": ["{LINK}", "https://ok.example/"],'
        f' "iexec_result_storage_proxy": "{LINK}", "iexec_result_storage_provider": "<b>"}}',
    )
    office.open(task, 30)
    me = office.wallet(0).address
    await office.demand(headers)
    record(office, task, Failed(me, Step.START, EVIL))
    logs = ComputeLogs(wallet_address=me, stdout=EVIL, stderr=EVIL)
    office.app.state.window.logs.write(task, me, logs)
    late = liar_with_link(office)
    door = office.app.state.sessions
    await office.http.post("/dashboard/login", data={"code": door.link(door.owner)})
    for path in (
        "/dashboard/tasks",
        f"/dashboard/tasks?q={EVIL[-9:]}%22%3E%3Cscript%3Ealert(1)%3C/script%3E&worker=%3Cb%3E",
        f"/dashboard/tasks/{task}",
        f"/dashboard/tasks/{late}",
        "/dashboard/deals",
        f"/dashboard/deals/0x{'01' * 32}",
        f"/dashboard/deals/0x{'02' * 32}",
        "/dashboard/feed",
        "/dashboard/operator",
        "/dashboard/login?code=%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
    ):
        page = (await office.http.get(path)).text
        assert "<script>alert" not in page, path
        assert "<img" not in page, path
        assert 'href="javascript' not in page, path
        assert "<b>" not in page, path
    own = await seen(office, f"/dashboard/tasks/{task}")
    assert own.count("&lt;script&gt;alert(1)") >= 4  # name, cause, both logs
    deal = await seen(office, f"/dashboard/deals/0x{'02' * 32}")
    assert 'href="https://ok.example/" rel="noreferrer noopener nofollow"' in deal
    assert "javascript:alert" in deal  # as a text
    assert str(other) in deal


def liar_with_link(office: Office) -> TaskId:
    task = buy(office, 3, trust=1)
    record(office, task, Initialized(), block=40)
    record(office, task, Assigned(ONE, 2))
    record(office, task, Contributed(ONE, GOOD, 2), ConsensusReached(GOOD, NOW + 9), block=41)
    record(office, task, Revealed(ONE, Digest(bytes([3]) * 32)), Finalized(LINK), block=42)
    return task


def test_only_safe_links_are_followed():
    for text in (
        "javascript:alert(1)",
        "JAVASCRIPT:alert(1)",
        "java\nscript:alert(1)",
        " https://a.example",
        "https://a.example/\x00",
        "data:text/html,<script>",
        "vbscript:x",
        "//a.example",
        "/ipfs/Qm",
        "https:a.example",
        "https://",
        "https://user@a.example/",
        "http://[",
        "ftp://a.example/",
        "https://a.example/" + "x" * 3_000,
    ):
        assert stranger(text).href == "", text
        assert stranger(text).text == text
    for text in ("https://a.example/r?x=1", "http://127.0.0.1:1/r", "ipfs://Qm123"):
        assert stranger(text).href == text


def test_what_contracts_are_told_of_a_store_is_read():
    told = '{ "storage": "ipfs", "location": "/ipfs/QmT6cEW" }'
    assert result(told) == Link("/ipfs/QmT6cEW", "ipfs://QmT6cEW")
    assert result('{"location": "javascript:alert(1)"}') == Link("javascript:alert(1)")
    assert result('{"location": "/ipfs/<script>"}').href == ""
    for odd in ("[]", "null", '{"location": 3}', "{}", "[" * 100_000, "", "7"):
        assert result(odd) == Link(odd)


async def test_the_chains_explorer_is_linked(office: Office):
    task = liar(office)
    config = replace(
        settings(office.chain, office.folder), explorer_url="https://scan.example/"
    )

    async def is_uploaded(task: object, link: object) -> bool:
        return False

    app = front(config, office.pool, office.journal, is_uploaded)
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://pool") as http:
        page = (await http.get(f"/dashboard/tasks/{task}")).text
    end = f'href="https://scan.example/tx/0x0d00{"cd" * 30}" rel="noreferrer noopener nofollow"'
    assert end in page
    assert Explorer("https://scan.example/").tx("0x1") == "https://scan.example/tx/0x1"
    assert Explorer("").tx("0x1") == Explorer("javascript:x").tx("0x1") == ""
    with pytest.raises(ValueError, match="explorer_url"):
        replace(office.app.state.dashboard.config, explorer_url="javascript:x")


async def test_events_of_earlier_lives_are_told(office: Office):
    task = liar(office)

    async def is_uploaded(task: object, link: object) -> bool:
        return False

    config = settings(office.chain, office.folder)
    again = front(config, office.pool, office.journal, is_uploaded)
    transport = httpx2.ASGITransport(again)
    async with httpx2.AsyncClient(transport=transport, base_url="http://pool") as http:
        page = (await http.get("/dashboard/feed")).text
    assert "It is completed, and everybody is paid." in words(page)
    assert str(task) in page
