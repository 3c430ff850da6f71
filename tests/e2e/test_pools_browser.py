"""A page that lists two pools in a real browser: one at work, and one that is up to no good."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import httpx2
import pytest
from browser import chromium, needs_chromium, visiting
from market_lab import Lab

from tallystick.directory.app import application
from tallystick.directory.board import Board
from tallystick.directory.listing import Listed
from tallystick.wire import serving

pytestmark = [needs_chromium, pytest.mark.long, pytest.mark.anyio]

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}"
PHONE = {"viewport": {"width": 390, "height": 844}}


@asynccontextmanager
async def impostor(pool: dict[str, object], orders: object) -> AsyncIterator[str]:
    """A server that says it is the pool, in words meant for a browser."""

    async def talk(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            asked = (await stream.receive()).decode().split(" ")[1]
            body = json.dumps(pool if asked == "/pool" else orders).encode()
            head = (
                f"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
            )
            await stream.send(head.encode() + body)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, talk)
        yield f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def directory(*urls: str) -> AsyncIterator[str]:
    board = Board([Listed(url) for url in urls], every=0.5)
    with serving.listen("127.0.0.1", 0) as sock:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(board.run)
            await tasks.start(
                lambda task_status: serving.serve(
                    application(board), sock, task_status=task_status
                )
            )
            yield f"http://127.0.0.1:{sock.getsockname()[1]}/"
            board.changes.close()
            tasks.cancel_scope.cancel()


async def test_a_pool_is_found_among_liars(lab: Lab):
    at = lab.market.scheduler_url
    async with httpx2.AsyncClient(base_url=at, trust_env=False, timeout=60) as http:
        told = (await http.get("/pool")).json()
        orders = (await http.get("/orders")).json()
    evil = [{**each, "order": {**each["order"], "category": "9"}} for each in orders]
    liar = {**told, "name": EVIL, "version": EVIL, "workersAlive": 10**11}
    async with (
        impostor(liar, evil) as bad,
        impostor({"name": EVIL}, []) as worse,
        directory(at, bad, worse) as url,
        chromium() as browser,
        visiting(browser) as visit,
    ):
        page = visit.page
        await page.goto(url)
        await page.wait_for_selector("#known strong:text-is('2 of 3')")
        mine = page.locator("#pools tr", has=page.locator(f"a[href='{at}/']"))
        assert "local pool" in await mine.inner_text()
        assert "3 of 3" in await mine.inner_text()
        assert str(await page.locator("text=disputed").count()) == "2"
        assert EVIL[:60] in await page.inner_text("#pools")
        await page.evaluate("window.same = true")
        done = int(told["tasks"].get("COMPLETED", 0))
        ended = await lab.see(await lab.buy("digits"))
        assert ended.paid
        await mine.locator(f"td:text-is('{done + 1}')").wait_for()  # by itself
        assert await page.evaluate("window.same")
        assert await visit.barriers() == []
        assert await visit.weight(url) < 200 << 10
        await mine.locator("a").click()
        await page.wait_for_selector("h1")
        assert page.url.rstrip("/").startswith(at)
        assert visit.complaints == []
        async with visiting(browser, color_scheme="dark", **PHONE) as phone:
            await phone.page.goto(url)
            await phone.page.wait_for_selector("#known")
            assert await phone.barriers() == []
            wide = await phone.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= 390
