"""The pages of tasks, deals, events and the operator in a real browser: hostile words in every
field, light and dark, and as narrow as a phone."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from browser import Visit, chromium, needs_chromium, visiting
from playwright.async_api import Browser
from scheduler_office import NOW, Office, ref

from tallystick.chain.wallet import Wallet
from tallystick.lifecycle.facts import (
    Aborted,
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
from tallystick.scheduler.dashboard.acts import Acts
from tallystick.wire import serving
from tallystick.wire.auth import log_challenge_hash
from tallystick.wire.scheduler import ComputeLogs

pytestmark = [pytest.mark.anyio, pytest.mark.long, needs_chromium]

EVIL = (
    "</title></textarea></pre><script>alert(1)</script><img src=x onerror=alert(2)>\"'`{{7*7}}"
)
LINK = "javascript:alert(document.cookie)"
TOO_WIDE = """[...document.querySelectorAll('body *')].filter(
    each => each.getBoundingClientRect().right > document.documentElement.clientWidth + 1
).map(each => each.outerHTML.slice(0, 100)).slice(0, 8)"""
HEAVIEST = 200 * 1024
PICTURES = os.environ.get("DASHBOARD_PICTURES", "")


def record(office: Office, task: TaskId, *facts: Fact, block: int = 0) -> None:
    for index, fact in enumerate(facts):
        place = replace(ref(block, index), tx=f"0x{block:064x}") if block else None
        office.pool.engine.record(str(task), fact, place)


async def hostile(office: Office) -> TaskId:
    """A pool in which whoever may write something writes what should run."""
    workers = [office.wallet(number).address for number in range(3)]
    for number, name in enumerate((EVIL, "w" * 200, "honest")):
        headers = await office.login(office.wallet(number))
        body = {"name": name, "cpuNb": 2, "os": EVIL[:200], "cpu": EVIL[:200]}
        answer = await office.http.post("/workers/register", json=body, headers=headers)
        assert answer.status_code == 200
    params = json.dumps(
        {"iexec_args": EVIL, "iexec_input_files": [LINK, "https://ok.example/"]}
    )
    deal = Deal(
        DealId(bytes([1]) * 32),
        start=NOW,
        time_unit=300,
        trust=4,
        dataset=Asset(Address(bytes([9]) * 20), Address(bytes([8]) * 20), 5),
        workerpool=Asset(office.chain.workerpool, office.chain.scheduler.address, 10**9),
        requester=office.chain.requester.address,
        params=params,
        bot_size=3,
        worker_stake=3 * 10**8,
    )
    task, second = deal.task_id(0), deal.task_id(1)
    record(office, task, Ordered(deal, 0), block=1)
    record(office, second, Ordered(deal, 1), block=1)
    good, bad = Hash(bytes([1]) * 32), Hash(bytes([2]) * 32)
    record(office, task, Initialized(), block=10)
    record(office, second, Initialized(), block=10)
    record(office, task, *(Assigned(who, 2) for who in workers))
    record(office, task, Contributed(workers[0], good, 2), block=11)
    record(
        office,
        task,
        Contributed(workers[1], bad, 2),
        Contributed(workers[2], good, 2),
        block=12,
    )
    record(office, task, ConsensusReached(good, NOW + 700), block=13)
    digest = Digest(bytes([3]) * 32)
    record(office, task, Revealed(workers[0], digest), Revealed(workers[2], digest), block=14)
    record(office, task, Finalized(LINK), block=15)
    record(office, second, Assigned(workers[0], 2), Assigned(workers[1], 2))
    record(
        office, second, Failed(workers[0], Step.START, EVIL), Aborted(workers[1], "OUT_OF_GAS")
    )
    logs = ComputeLogs(wallet_address=workers[0], stdout=EVIL + "\n" + "x" * 500, stderr=EVIL)
    office.app.state.window.logs.write(task, workers[0], logs)
    Acts(office.journal).note(by=EVIL, what="blocked", worker=str(workers[1]), why=EVIL)
    office.app.state.desk.admission.block(workers[1], EVIL)
    return task


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    with serving.listen("127.0.0.1", 0) as sock:
        async with anyio.create_task_group() as tasks:
            await tasks.start(
                lambda task_status: serving.serve(app, sock, task_status=task_status)
            )
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
            tasks.cancel_scope.cancel()


async def look_at(visit: Visit, url: str, path: str, name: str) -> None:
    """The page is shown, nothing of it ran, nobody is shut out, and it fits."""
    await visit.page.goto(url + path)
    await visit.page.wait_for_selector("#live-sign[data-state=on]")
    await visit.page.evaluate(
        "document.querySelectorAll('details').forEach(d => d.open = true)"
    )
    if PICTURES:
        await visit.picture(Path(PICTURES) / f"{name}.png")
    assert await visit.barriers() == [], path
    assert visit.complaints == [], path
    wide, shown = await visit.page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide <= shown, (path, await visit.page.evaluate(TOO_WIDE))


async def see_all(browser: Browser, office: Office, url: str, task: TaskId, **how: Any) -> None:
    scheme, width = how.get("color_scheme", "light"), how.get("viewport", {}).get("width", 0)
    door = office.app.state.sessions
    async with visiting(browser, **how) as visit:
        page = visit.page
        await page.goto(f"{url}/dashboard/login?code={door.link(door.owner)}")
        assert await visit.barriers() == []
        await page.click("main button")
        await page.wait_for_selector("h1:text-is('Operator')")
        assert "code=" not in page.url
        for name, path in (
            ("operator", "/dashboard/operator"),
            ("tasks", "/dashboard/tasks"),
            ("task", f"/dashboard/tasks/{task}"),
            ("deals", "/dashboard/deals"),
            ("deal", f"/dashboard/deals/0x{'01' * 32}"),
            ("feed", "/dashboard/feed"),
            ("login", "/dashboard/login"),
        ):
            await look_at(visit, url, path, f"{name}-{scheme}-{width}")
            assert await page.query_selector("img") is None, path
            assert await visit.weight(url + path) <= HEAVIEST, path
        await page.goto(f"{url}/dashboard/tasks/{task}")
        assert EVIL in await page.inner_text("#logs")
        assert EVIL[:40] in await page.inner_text("#replicates")


async def test_a_requester_signs_with_the_wallet_in_its_browser(office: Office):
    """By EIP-1193, as MetaMask and others offer it; the page is shown who asks, not the key."""
    task = await hostile(office)
    wallet = Wallet(office.chain.requester.key)

    def asked(method: str, params: list[str]) -> Any:
        if method == "eth_requestAccounts":
            return [str(wallet.address)]
        assert (method, params[0]) == ("eth_signTypedData_v4", str(wallet.address))
        told = json.loads(params[1])
        hash = log_challenge_hash(told["domain"]["chainId"], told["message"]["challenge"])
        return "0x" + wallet.sign_hash(hash).hex()

    async with served(office.app) as url, chromium() as browser, visiting(browser) as visit:
        page = visit.page
        await page.goto(f"{url}/dashboard/login")
        assert not await page.is_visible("#wallet")  # there is no wallet in this browser
        await page.expose_function("askWallet", asked)
        await page.add_init_script(
            "window.ethereum = {request: ({method, params}) => askWallet(method, params || [])}"
        )
        await page.goto(f"{url}/dashboard/login")
        await page.click("#wallet button")
        await page.wait_for_url(f"**/dashboard/tasks?requester={wallet.address}")
        await page.goto(f"{url}/dashboard/tasks/{task}")
        assert EVIL in await page.inner_text("#logs")
        assert await page.query_selector("header a:text-is('Operator')") is None
        assert visit.complaints == []
        office.pool.changes.close()


async def test_what_happens_shows_without_loading_again(office: Office):
    """On the pages of a task, of its deal, of all tasks and of events, each in a tab."""
    task = await hostile(office)
    second = office.pool.engine.states[str(task)].deal.task_id(1)
    paths = {
        f"/dashboard/tasks/{second}": "#votes a:text-is('w3')",
        f"/dashboard/deals/0x{'01' * 32}": "#tasks tr:nth-child(2) td:text-is('3')",
        "/dashboard/tasks": "#tasks tr:has(td:text-is('3')):has-text('RUNNING')",
        "/dashboard/feed": "#feed li:has-text('w3 was given a replicate.')",
    }
    await office.member(3)
    async with served(office.app) as url, chromium() as browser, AsyncExitStack() as tabs:
        visits = [await tabs.enter_async_context(visiting(browser)) for _ in paths]
        for visit, path in zip(visits, paths, strict=True):
            await visit.page.goto(url + path)
            await visit.page.wait_for_selector("#live-sign[data-state=on]")
            await visit.page.evaluate("window.same = true")
        record(office, second, Assigned(office.wallet(3).address, 2))
        for visit, sign in zip(visits, paths.values(), strict=True):
            await visit.page.wait_for_selector(sign)
            assert await visit.page.evaluate("window.same")
            assert visit.complaints == []
        office.pool.changes.close()


async def test_hostile_words_in_light_and_dark_and_on_a_phone(office: Office):
    task = await hostile(office)
    async with served(office.app) as url, chromium() as browser:
        await see_all(browser, office, url, task)
        await see_all(
            browser,
            office,
            url,
            task,
            color_scheme="dark",
            viewport={"width": 390, "height": 800},
        )
        office.pool.changes.close()
