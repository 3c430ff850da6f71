"""The pages of a live pool in a real browser: figures as on the chain, live, and safe."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from browser import Visit, chromium, needs_chromium, visiting
from market_lab import Lab

from tallystick.chain.records import TaskState
from tallystick.chain.wallet import Wallet
from tallystick.web.words import rlc
from tallystick.wire.auth import login_digest

pytestmark = [pytest.mark.anyio, pytest.mark.long, needs_chromium]

EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>\"'`{{7*7}}"
PHONE = {"viewport": {"width": 390, "height": 800}}
HEAVIEST = 200 * 1024


@asynccontextmanager
async def looking(lab: Lab, path: str = "/dashboard", **how: object) -> AsyncIterator[Visit]:
    """A tab at a page of the pool; whatever it should not do fails the test in the end."""
    async with chromium() as browser, visiting(browser, **how) as visit:
        await visit.page.goto(f"{lab.market.scheduler_url}{path}")
        yield visit
        assert visit.complaints == []


async def figure(visit: Visit, id: str) -> str:
    return (await visit.page.inner_text(f"#{id} strong")).strip()


async def stakes(lab: Lab) -> dict[str, int]:
    """What each worker has inside the hub, free and locked."""
    roles = [role for role in lab.market.accounts if role.startswith("worker")]
    return {role: sum(await lab.stake(role)) for role in roles}


async def enter(lab: Lab, name: str) -> Wallet:
    """A stranger registers as a worker with this name."""
    wallet, url = Wallet(b"\x42" * 32), lab.market.scheduler_url
    who = {"walletAddress": str(wallet.address)}
    async with httpx2.AsyncClient(base_url=url, timeout=30) as http:
        challenge = await http.get("/workers/challenge", params=who)
        signature = "0x" + wallet.sign_hash(login_digest(challenge.text)).hex()
        token = await http.post("/workers/login", params=who, json={"value": signature})
        headers = {
            "authorization": f"Bearer {token.text}",
            "user-agent": f"tallystick/{EVIL} x",
        }
        body = {"name": name, "cpuNb": 2, "os": name, "cpu": name}
        answer = await http.post("/workers/register", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
    return wallet


async def test_a_task_arrives_and_ends_before_the_eyes_of_who_looks(lab: Lab, tmp_path: Path):
    before = await stakes(lab)
    async with looking(lab) as visit:
        page = visit.page
        await page.wait_for_selector("#live-sign[data-state=on]")
        await page.wait_for_selector("#workers-alive strong:text-is('3')")
        done = page.locator("#state-COMPLETED strong")
        had = int(await done.inner_text()) if await done.count() else 0
        await page.evaluate("window.same = true")
        bought = await lab.buy("digits", trust=4)
        (task,) = bought.tasks
        states = ("INITIALIZED", "RUNNING", "CONSENSUS_REACHED", "AT_LEAST_ONE_REVEALED")
        await page.wait_for_selector(", ".join(f"#state-{name}" for name in states))
        ending = await lab.see(bought)
        await page.wait_for_selector(f"#state-COMPLETED strong:text-is('{had + 1}')")
        gained = {role: now - before[role] for role, now in (await stakes(lab)).items()}
        paid = rlc(sum(gained.values()))
        assert sum(gained.values()) > 0
        await page.wait_for_selector(f"#paid strong:text-is('{paid} RLC')")
        assert await page.evaluate("window.same")  # it was never loaded again
        assert ending.result is not None
        known = await lab.session.hub.task(task)
        assert known is not None
        assert known.state is TaskState.COMPLETED
        account = await lab.session.hub.account(lab.market.accounts["scheduler"])
        await page.wait_for_selector(f"#stake strong:text-is('{rlc(account.stake)} RLC')")
        await page.wait_for_selector("#time-to-result strong:not(:text-is('–'))")
        winner = next(role for role, gain in gained.items() if gain)
        address = lab.market.accounts[winner]
        await page.click("nav a:text-is('Workers')")
        await page.click(f"#w-{address} a >> nth=0")
        await page.wait_for_selector(f"#earned strong:text-is('{rlc(gained[winner])} RLC')")
        own = sum(await lab.stake(winner))
        await page.wait_for_selector(f"#stake strong:text-is('{rlc(own)} RLC')")
        score = await lab.session.hub.score(address)
        await page.wait_for_selector(f"#score strong:text-is('{score}')")
        row = page.locator("#shares tbody tr").first
        assert "COMPLETED" in await row.inner_text()
        await visit.picture(tmp_path / "one-worker.png")
        await row.locator("a").first.click()
        await page.wait_for_selector(f"text={task}")


async def test_a_worker_that_comes_and_falls_silent_is_seen_without_reloading(lab: Lab):
    async with looking(lab, "/dashboard/workers") as visit:
        await visit.page.wait_for_selector("#live-sign[data-state=on]")
        await visit.page.evaluate("window.same = true")
        wallet = await enter(lab, EVIL)
        row = f"#w-{wallet.address}"
        await visit.page.wait_for_selector(row)
        assert EVIL in await visit.page.inner_text(row)
        await visit.page.wait_for_selector(f"{row} .why[data-code=LOST]")  # it never pings
        assert await visit.page.evaluate("window.same")
        await visit.page.fill("#q", EVIL)
        await visit.page.click("form.filter button")
        await visit.page.wait_for_selector("#found:has-text('1 of ')")
        await visit.page.click(f"{row} a >> nth=0")
        await visit.page.wait_for_selector("h1")
        assert await visit.page.inner_text("h1") == EVIL
        assert EVIL.split(maxsplit=1)[0] in await visit.page.inner_text("#machine")


async def test_idle_workers_say_why(lab: Lab):
    async with looking(lab, "/dashboard/workers?state=idle&sort=name") as visit:
        await visit.page.wait_for_selector(".why[data-code=NO_TASK] >> nth=2")
        assert await visit.page.inner_text(".why >> nth=0") == "No task is open."
        assert re.search(r"\d+ s ago", await visit.page.inner_text("#workers"))


PAGES = ("/dashboard", "/", "/dashboard/workers", "/dashboard/workers/{worker}", "/docs")


@pytest.mark.parametrize("colours", ["light", "dark"])
async def test_no_page_has_barriers_or_is_too_wide_for_a_phone(
    lab: Lab, colours: str, tmp_path: Path
):
    worker = lab.market.accounts["worker-1"]
    async with looking(lab, color_scheme=colours, **PHONE) as visit:
        for number, path in enumerate(PAGES):
            await visit.page.goto(lab.market.scheduler_url + path.format(worker=worker))
            await visit.page.wait_for_selector("#live-sign[data-state=on]")
            assert await visit.barriers() == [], path
            width = await visit.page.evaluate("document.documentElement.scrollWidth")
            assert width <= 390, path
            await visit.picture(tmp_path / f"phone-{colours}-{number}.png")


async def test_every_page_is_light_and_reached_by_keyboard(lab: Lab, tmp_path: Path):
    worker = lab.market.accounts["worker-1"]
    async with looking(lab) as visit:
        for number, path in enumerate(PAGES):
            url = f"{lab.market.scheduler_url}{path.format(worker=worker)}"
            assert await visit.weight(url) <= HEAVIEST, path
            await visit.page.goto(url)
            await visit.page.wait_for_selector("#live-sign[data-state=on]")
            await visit.picture(tmp_path / f"wide-{number}.png")
        await visit.page.keyboard.press("Tab")
        assert await visit.page.evaluate("document.activeElement.className") == "skip"
        await visit.page.keyboard.press("Enter")
        for title in ("Overview", "Workers", "Tasks", "Deals", "Events"):
            await visit.page.click(f"nav a:text-is('{title}')")
            await visit.page.wait_for_selector(f"nav a[aria-current=page]:text-is('{title}')")
