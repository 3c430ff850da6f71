"""A developer watches a task on the local chain in a real browser, from deal to payment."""

from __future__ import annotations

import json

import pytest
from browser import Visit, chromium, needs_chromium, visiting
from market_lab import Lab

from tallystick.chain.abi import encode_call
from tallystick.devnet.actors import register_app
from tallystick.devnet.console import Console
from tallystick.devnet.deploy import Contracts
from tallystick.poco.values import Address, Hash

pytestmark = [needs_chromium, pytest.mark.long, pytest.mark.anyio]

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}"
PHONE = {"viewport": {"width": 390, "height": 844}}


async def follow(visit: Visit, selector: str, heading: str) -> None:
    """Click a link, as it comes past on a page that renews itself, and arrive."""
    await visit.page.click(selector)
    await visit.page.wait_for_selector(f"h1:text-is('{heading}')")


async def test_a_task_is_watched_live_and_understood(lab: Lab):
    requester = str(lab.market.accounts["requester"])
    async with chromium() as browser, visiting(browser) as visit:
        page = visit.page
        await page.goto(f"{lab.market.explorer_url}/")
        await page.wait_for_selector("#live-sign[data-state=on]")
        await page.evaluate("window.same = true")
        bought = await lab.buy("digits", trust=5, params=json.dumps({"iexec_args": EVIL}))
        await page.wait_for_selector("#transactions >> text=matchOrders")
        ended = await lab.see(bought)
        await page.wait_for_selector("#transactions >> text=/^finalize$|^claim$/")
        assert await page.evaluate("window.same")  # never loaded again
        ending = "finalize" if ended.paid else "claim"

        await follow(visit, "nav >> text=Deals", "Deals")
        deal, (task,) = bought.deal.id, bought.tasks
        await follow(visit, f"a[href='/deal/{deal}']", "Deal")
        assert EVIL in json.loads(await page.inner_text("#params"))["iexec_args"]
        titles = await page.locator("#transactions strong").all_inner_texts()
        assert {"matchOrders", "initialize", "contribute", ending} <= set(titles)

        await follow(visit, f"a[href='/task/{task}']", "Task")
        told = await page.inner_text("#task")
        assert ("completed" if ended.paid else "failed") in told
        assert await page.locator("#votes tbody tr").count() == 3

        await follow(visit, "#transactions >> text=initialize", "initialize")
        shown = await page.inner_text("#content")
        assert str(deal) in shown
        assert "TaskInitialize of hub" in " ".join(shown.split())
        await follow(visit, f"dd a[href='/deal/{deal}']", "Deal")
        await follow(visit, f"dl a[href='/account/{requester}']", "requester")
        await page.wait_for_selector("#transactions >> text=matchOrders")
        await follow(visit, "#transactions >> text=matchOrders", "matchOrders")
        shown = " ".join((await page.inner_text("#content")).split())
        assert "OrdersMatched of hub" in shown
        assert EVIL.replace('"', '\\"') in shown
        await page.fill("#q", str(task))
        await page.press("#q", "Enter")
        await page.wait_for_selector("h1:text-is('Task')")
        assert visit.complaints == []


async def test_what_is_refused_says_why_and_hostile_names_are_only_text(lab: Lab):
    market = lab.market
    with Console(market.rpc_url) as console:
        founded = Contracts(
            hub=market.hub,
            rlc=market.rlc,
            app_registry=market.registries.app,
            dataset_registry=market.registries.dataset,
            workerpool_registry=market.registries.workerpool,
        )
        app = register_app(
            console,
            founded,
            owner=market.accounts["app-owner"],
            name=EVIL,
            image=EVIL,
            digest=Hash(b"\x33" * 32),
        )
        refused = _claimed_too_early(console, market.hub, market.accounts["requester"])
    async with chromium() as browser, visiting(browser) as visit:
        page = visit.page
        await page.goto(f"{market.explorer_url}/account/{app}")
        assert EVIL in await page.inner_text("#asset")
        await page.goto(f"{market.explorer_url}/search?q={EVIL}")
        assert "<script>alert(1)" in await page.inner_text("#content")
        await page.goto(f"{market.explorer_url}/transactions?what=createApp")
        await follow(visit, "#transactions >> text=createApp", "createApp")
        assert EVIL in await page.inner_text("#content")
        await page.goto(f"{market.explorer_url}/transaction/{refused}")
        assert "does not hold" in await page.inner_text("#refused")
        assert visit.complaints == []


def _claimed_too_early(console: Console, hub: Address, me: Address) -> str:
    """The hash of a transaction that the hub refuses."""
    console.call("anvil_impersonateAccount", str(me))
    data = "0x" + encode_call("claim(bytes32)", [b"\x07" * 32]).hex()
    step = {"from": str(me), "to": str(hub), "data": data, "gas": hex(200_000)}
    receipt = console.call("eth_sendTransactionSync", step)
    console.call("anvil_stopImpersonatingAccount", str(me))
    return str(receipt["transactionHash"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_is_without_barriers_and_light(lab: Lab, scheme: str):
    bought = await lab.buy("digits")
    await lab.see(bought)
    root, (task,) = lab.market.explorer_url, bought.tasks
    async with chromium() as browser, visiting(browser, color_scheme=scheme, **PHONE) as visit:
        await visit.page.goto(f"{root}/deal/{bought.deal.id}")
        last = await visit.page.get_attribute("#transactions a", "href")
        pages = ("/", "/blocks", "/block/1", "/transactions", "/deals", "/tasks", "/accounts")
        subjects = (
            f"/deal/{bought.deal.id}",
            f"/task/{task}",
            f"/account/{lab.market.workerpool}",
            str(last),
            "/search?q=nothing",
            "/deal/none",
        )
        for path in (*pages, *subjects):
            await visit.page.goto(f"{root}{path}")
            assert await visit.barriers() == [], path
            wide = await visit.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= 390, path
        assert await visit.weight(f"{root}/transactions") < 200 << 10
        gone = "the server responded with a status of 404"
        assert [each for each in visit.complaints if gone not in each] == []
