"""The shared layout in a real browser: escaped, strict, live, and without barriers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx2
import pytest
from browser import chromium, needs_chromium, visiting
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from tallystick.engine.pulse import Pulse
from tallystick.web import charts, words
from tallystick.web.live import Stream
from tallystick.web.site import Place, Site
from tallystick.wire import serving

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'`{{7*7}}"
TEMPLATE = """
{% extends "base.html" %}
{% from "parts.html" import figure, copy_box, table_of with context %}
{% block content %}
<h1>{{ evil }}</h1>
{{ figure("tasks", "Tasks", n, "/tasks", evil) }}
{{ copy_box("cmd", evil, "the command") }}
{{ chart([(0, 1), (1, 3)], title=evil) }}
{% call table_of("rows", "Rows", ["Name", "When"]) %}
<tr><td>{{ evil }}</td><td>{{ 0|moment }}</td></tr>
{% endcall %}
<details id="more" ><summary>More</summary>{{ ("0x" ~ "ab" * 20) | short }}</details>
{% endblock %}
"""


class World:
    """A site of one page that shows a number."""

    def __init__(self) -> None:
        self.n = 0
        self.pulse = Pulse()
        self.stream = Stream(self.pulse, every=0.01, at_once=2)
        self.site = Site(
            name=f"Pool {EVIL}",
            package="site_of_tests",
            places=(Place("Tasks", "/tasks"),),
            live="/events",
            join="/join",
        )
        self.app = Starlette()
        self.site.attach(self.app)
        self.app.add_route("/", self._page)
        self.app.add_route("/events", self._events)

    async def _page(self, request: Request) -> Response:
        return self.site.html(request, "page.html", n=self.n, evil=EVIL)

    async def _events(self, request: Request) -> Response:
        return self.stream.answer()

    def change(self) -> None:
        self.n += 1
        self.pulse.beat()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    package = tmp_path / "site_of_tests"
    (package / "templates").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "templates" / "page.html").write_text(TEMPLATE)
    monkeypatch.syspath_prepend(tmp_path)
    made = World()
    yield made
    made.pulse.close()


@asynccontextmanager
async def served(world: World) -> AsyncIterator[str]:
    with serving.listen("127.0.0.1", 0) as sock:
        async with anyio.create_task_group() as tasks:
            await tasks.start(
                lambda task_status: serving.serve(world.app, sock, task_status=task_status)
            )
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
            world.pulse.close()
            tasks.cancel_scope.cancel()


@needs_chromium
@pytest.mark.anyio
async def test_a_page_is_strict_live_and_without_barriers(world: World):
    async with served(world) as url, chromium() as browser, visiting(browser) as visit:
        page = visit.page
        await page.goto(url)
        await page.wait_for_selector("#live-sign[data-state=on]")
        assert await page.inner_text("h1") == EVIL
        assert await page.inner_text("#tasks strong") == "0"
        await page.click("summary")
        await page.evaluate("window.same = true")
        world.change()
        await page.wait_for_selector("#tasks strong:text-is('1')")
        assert await page.evaluate("window.same")  # not loaded again
        assert await page.get_attribute("#more", "open") is not None
        assert "ago" in await page.inner_text("#rows time")
        assert await visit.barriers() == []
        assert visit.complaints == []


@needs_chromium
@pytest.mark.anyio
async def test_what_is_injected_anyway_does_not_run(world: World):
    """The second wall: were a text not escaped, the policy would still not let it run."""
    async with served(world) as url, chromium() as browser, visiting(browser) as visit:
        await visit.page.goto(url)
        await visit.page.evaluate(
            "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=alert(1)>')"
        )
        await visit.page.wait_for_selector("img", state="attached")
        await visit.page.evaluate("new Promise(done => setTimeout(done, 50))")
        assert any("Content Security Policy" in each for each in visit.complaints)
        assert not any(each.startswith("dialog") for each in visit.complaints)


@pytest.mark.anyio
async def test_streams_are_bounded_and_end_with_the_service(world: World):
    async with (
        served(world) as url,
        httpx2.AsyncClient(base_url=url, trust_env=False) as http,
        http.stream("GET", "/events") as one,
        http.stream("GET", "/events") as two,
    ):
        assert (one.status_code, two.status_code) == (200, 200)
        lines, other = one.aiter_lines(), two.aiter_lines()
        assert (await anext(lines), await anext(other)) == ("retry: 2000",) * 2
        refused = await http.get("/events")
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "30"
        world.pulse.close()
        assert [line async for line in lines][-3:] != []


@pytest.mark.anyio
async def test_static_files_are_kept_and_pages_are_not(world: World):
    transport = httpx2.ASGITransport(world.app)
    async with httpx2.AsyncClient(base_url="http://127.0.0.1", transport=transport) as http:
        page = await http.get("/")
        assert page.headers["cache-control"] == "no-cache"
        assert "script-src 'self'" in page.headers["content-security-policy"]
        assert page.headers["x-content-type-options"] == "nosniff"
        assert EVIL not in page.text
        style = page.text.split('rel="stylesheet" href="')[1].split('"')[0]
        found = await http.get(style)
        assert "immutable" in found.headers["cache-control"]
        assert found.headers["content-type"].startswith("text/css")
        assert (await http.get("/static/..%2Fsite.py")).status_code == 404


def test_figures_are_said_without_rounding_up():
    assert words.rlc(1_999_999_999) == "1.999999999"
    assert words.rlc(12_345 * 10**9) == "12,345"
    assert words.eth(1) == "< 0.000001"
    assert words.gwei(1_500_000_000) == "1.5"
    assert [words.duration(s) for s in (0.85, 4.2, 59.0, 200, 180, 187_200)] == [
        "850 ms",
        "4.2 s",
        "59 s",
        "3 min 20 s",
        "3 min",
        "2 d 4 h",
    ]
    assert words.percent(0.9999) == "99.9 %"
    assert words.percent(1) == "100 %"
    assert words.size(1536) == "1.5 KiB"
    assert "–" in words.moment(None)


def test_a_chart_says_in_words_what_it_draws():
    drawn = charts.line(
        [(0, 1.0), (10, 4.0), (20, 2.0)], title="Tasks <done>", unit=" a minute"
    )
    assert "Tasks &lt;done&gt;: now 2 a minute, at most 4 a minute" in drawn
    assert "nothing yet" in charts.line([], title="Tasks")
