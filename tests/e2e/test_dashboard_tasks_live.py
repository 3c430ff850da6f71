"""A task of a real market from its deal to its pay, in a real browser; and the pool's operator,
who signs in by the command's link, reads logs and blocks a worker."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from anyio import to_thread
from browser import Visit, chromium, needs_chromium, visiting
from market_lab import Lab, market_lab, more_workers, only, with_worker

from tallystick.cli.buying import app_params
from tallystick.cli.main import run
from tallystick.cli.pool_place import place
from tallystick.devnet.packages import PocoPackages
from tallystick.devnet.places import Places
from tallystick.poco.values import TaskId
from tallystick.web.words import rlc

pytestmark = [pytest.mark.anyio, pytest.mark.long, needs_chromium]

LIAR = Path(__file__).with_name("lying_worker.py")
EVIL = "</pre><script>alert(1)</script><img/src=x/onerror=alert(2)>{{7*7}}"
WORDS = "</li><img src=x onerror=alert(3)>"
PICTURES = os.environ.get("DASHBOARD_PICTURES", "")


async def test_a_task_before_the_eyes_of_everybody_and_of_the_operator(
    poco_packages: PocoPackages,
    executor: str,
    tmp_path: Path,
    cache: Path,
    capsys: pytest.CaptureFixture[str],
):
    children = only(1, children=with_worker(1, LIAR))
    async with (
        market_lab(tmp_path, workers=4, executor=executor, children=children) as lab,
        chromium() as browser,
        visiting(browser) as visit,
    ):
        task = await a_liar_is_found_out(lab, visit)
        await picture(visit, "market-task")
        assert await visit.barriers() == []
        await nobody_reads_logs(visit)
        async with more_workers(lab, 2):
            evil = await hostile_deal(lab, visit, cache)
        await sign_in(lab, visit, capsys)
        await the_operator_reads_logs(lab, visit, evil)
        await block_by_button(lab, visit)
        await sign_out(lab, visit, evil)
        assert task != evil
        assert visit.complaints == []


async def a_liar_is_found_out(lab: Lab, visit: Visit) -> TaskId:
    """The deal shows in the list, its task is followed without reloading, and all is told."""
    page, url = visit.page, lab.market.scheduler_url
    await page.goto(f"{url}/dashboard/tasks")
    await page.wait_for_selector("#live-sign[data-state=on]")
    bought = await lab.buy("digits", trust=3)
    (task,) = bought.tasks
    await page.click(f"#tasks a[href$='{task}']")  # it shows by itself
    await page.wait_for_selector("#live-sign[data-state=on]")
    await page.evaluate("window.same = true")
    await page.wait_for_selector("#votes :text('It voted; there is no consensus yet.')")
    async with more_workers(lab, 2, 3, 4):
        ending = await lab.see(bought)
        await page.wait_for_selector("#status .state:text-is('COMPLETED')")
        # The replicates of honest workers end before our eyes too.
        honest = page.locator("#replicates .state:text-is('COMPLETED')")
        await honest.nth(2).wait_for()
    gains = lab.gains(ending)
    lost, paid = rlc(-gains["worker-1"]), rlc(gains["worker-2"])
    liar = f"#votes tr:has-text('worker-1'):has(td:text-is('{lost}'))"
    await page.wait_for_selector(f"{liar}:has-text('it lost its stake')")
    winner = f"#votes tr:has-text('worker-2'):has(td:text-is('{paid}'))"
    await page.wait_for_selector(f"{winner}:has-text('it is paid')")
    assert await page.evaluate("window.same")  # never loaded again
    told = await page.inner_text("main")
    for name in ("CONTRIBUTED", "CAN_CONTRIBUTE", "REVEALED", "RESULT_UPLOADED", "COMPLETING"):
        assert name in told
    await costs_are_the_chains(lab, visit)
    return task


async def costs_are_the_chains(lab: Lab, visit: Visit) -> None:
    """Each transaction on the page with what the chain says it took."""
    page, seen = visit.page, 0
    for row in await page.query_selector_all("#transactions tbody tr"):
        mark = await row.query_selector("td:nth-child(1) [data-full]")
        assert mark is not None
        hash = await mark.get_attribute("data-full")
        receipt = await lab.session.hub.rpc.call("eth_getTransactionReceipt", hash)
        block, gas = [
            await (await row.query_selector_all("td"))[number].inner_text() for number in (1, 3)
        ]
        assert int(block) == int(receipt["blockNumber"], 16)
        assert int(gas.replace(",", "")) == int(receipt["gasUsed"], 16)
        link = await (await row.query_selector_all("a"))[0].get_attribute("href")
        assert link == f"{lab.market.explorer_url}/tx/{hash}"
        shown = await lab.http.get(link)
        assert (shown.status_code, str(hash) in shown.text) == (200, True)
        seen += 1
    assert seen >= 5  # deal, initialize, votes, proofs, finalize


async def nobody_reads_logs(visit: Visit) -> None:
    assert "Only the deal's requester" in await visit.page.inner_text("#logs")
    assert await visit.page.query_selector("#logs pre") is None


async def hostile_deal(lab: Lab, visit: Visit, cache: Path) -> TaskId:
    """What requester and app write is shown as it was written, and nothing of it runs."""
    page, url = visit.page, lab.market.scheduler_url
    image = lab.shelve("mischief", cache)
    bought = await lab.buy(image, params=app_params(["ok", EVIL], ()))
    (task,) = bought.tasks
    await lab.see(bought)
    await page.goto(f"{url}/dashboard/tasks/{task}")
    await page.click("#status a:has-text('deal')")
    await page.wait_for_selector("h1:has-text('Deal')")
    assert EVIL in await page.inner_text("main")
    await page.wait_for_selector("#bag:has-text('1 of 1 tasks are over')")
    reward = "#reward strong:not(:text-is('0 RLC'))"
    await page.wait_for_selector(reward)
    assert await page.query_selector("main img") is None
    await page.goto(f"{url}/dashboard/tasks/{task}")
    await nobody_reads_logs(visit)
    return task


async def sign_in(lab: Lab, visit: Visit, capsys: pytest.CaptureFixture[str]) -> None:
    """By the command's link, which works once."""
    config = str(Places(lab.market.data).config("scheduler"))
    capsys.readouterr()
    assert await to_thread.run_sync(run, ["pool", "login", "--config", config]) == 0
    link, sentence, *_ = capsys.readouterr().out.splitlines()
    assert "signs in once" in sentence
    await visit.page.goto(link)
    await visit.page.click("main button:text-is('Sign in')")
    await visit.page.wait_for_selector("h1:text-is('Operator')")
    assert visit.page.url == f"{lab.market.scheduler_url}/dashboard/operator"
    (cookie,) = await visit.page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    answer = await lab.http.get(link)
    assert (answer.status_code, "used already" in answer.text) == (410, True)


async def the_operator_reads_logs(lab: Lab, visit: Visit, task: TaskId) -> None:
    page = visit.page
    await page.goto(f"{lab.market.scheduler_url}/dashboard/tasks/{task}")
    assert EVIL in await page.inner_text("#logs pre")
    assert await page.query_selector("main img") is None
    await picture(visit, "market-logs")
    assert await visit.barriers() == []


async def block_by_button(lab: Lab, visit: Visit) -> None:
    """On the worker's own page; everybody sees that it was done, nobody else why."""
    page, url = visit.page, lab.market.scheduler_url
    worker = lab.market.accounts["worker-1"]
    await page.goto(f"{url}/dashboard/workers/{worker}")
    await page.fill("#why-blocked", WORDS)
    await page.click("main button:text-is('Block')")
    await page.wait_for_selector(f"#blocked tr:has-text('{WORDS}')")
    await picture(visit, "market-operator")
    await page.goto(f"{url}/dashboard/feed")
    await page.wait_for_selector("#feed li:has-text('The operator blocked worker-1')")
    assert WORDS in await page.inner_text("#feed")
    public = (await lab.http.get(f"{url}/dashboard/feed")).text
    assert ("The operator blocked" in public, "onerror=alert(3)" in public) == (True, False)
    # The scheduler means it, as its command tells.
    command = Places(lab.market.data).config("scheduler")
    assert await to_thread.run_sync(blocked_of, command) == [str(worker)]
    await page.goto(f"{url}/dashboard/operator")
    await page.click("#blocked button")
    await page.wait_for_selector("#blocked :text('Nobody is blocked.')")
    assert await to_thread.run_sync(blocked_of, command) == []


def blocked_of(config: Path) -> list[str]:
    """Whom `tally pool workers` tells to be blocked."""

    rows = place(config).ask("workers")["workers"]
    return [row["wallet"] for row in rows if row["blocked"]]


async def sign_out(lab: Lab, visit: Visit, task: TaskId) -> None:
    page = visit.page
    await page.click("header button:text-is('Sign out')")
    await page.wait_for_selector("header a:text-is('Sign in')")
    assert await page.context.cookies() == []
    await page.goto(f"{lab.market.scheduler_url}/dashboard/tasks/{task}")
    await nobody_reads_logs(visit)


async def picture(visit: Visit, name: str) -> None:
    if PICTURES:
        await visit.picture(Path(PICTURES) / f"{name}.png")
