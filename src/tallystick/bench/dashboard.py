"""What the pool's pages weigh, how soon a browser paints them, and what they cost the pool."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from statistics import median
from typing import Any, Final

import httpx2

from tallystick.bench.pool_lab import Lab, aside, lab, scheduler
from tallystick.bench.report import Options, Report, Row, Sized

NAME = "dashboard"
SUMMARY = "bytes, first paint and server time of the pool's pages, by workers and tasks"

PAINT: Final = 500.0
"""Milliseconds until something is seen: the goal, with 10,000 workers too."""
WEIGHT: Final = 200.0
"""KiB that a first visit may bring over the wire, with style and script."""
_SIZES: Final = (100, 10_000)
_PAGES: Final = {
    "overview": "/dashboard",
    "workers": "/dashboard/workers",
    "one worker": "/dashboard/workers/{worker}",
    "tasks": "/dashboard/tasks",
}
_HELD = 20
"""Tasks that the one worker has whose page is looked at: once it counts as lost, so do they."""
_PLAIN: Final = "a line of text"
"""What the same browser needs for the least that the same server can send."""
_VIEWS = 20
_PAINTS = 3
_LINKED: Final = re.compile(r'(?:href|src)="(/static/[^"]+)"')
_CHROMIUM: Final = ("chromium", "chromium-browser", "google-chrome")


async def run(options: Options, only: tuple[int, ...] = ()) -> Report:
    """Look at the pages of a real scheduler that knows more and more workers and tasks."""
    rows, had, workers = list[Row](), 0, list[Any]()
    missing = _missing()
    async with lab(options.work) as place:
        for size in only or ((2 * _HELD,) if options.quick else _SIZES):
            workers += await aside(place.workers, size - had)
            if not had:
                await aside(partial(place.tasks, holder=workers[0]), _HELD)
            await aside(place.tasks, size - max(had, _HELD))
            had = size
            with scheduler(place):
                rows += await _pages(place, size, str(workers[0]), options, not missing)
    return Report(bench=NAME, rows=tuple(rows), notes=_notes(missing))


def _notes(missing: str) -> tuple[str, ...]:
    said = (
        "As many tasks as workers. Made anew: each view asks for a page that nobody asked for"
        " before. Bytes: of a first visit, packed, with headers, style, script and icon. A line"
        " of text shows what browser and machine take without any page of ours.",
    )
    return (*said, f"First paint was not measured: {missing}") if missing else said


def _missing() -> str:
    """What keeps a browser from being asked; "" for nothing."""
    if find_spec("playwright") is None:
        return "Playwright for Python is missing (a dependency of the tests: tally test)."
    if _browser() is None:
        return "Chromium is missing: apt-get install chromium."
    return ""


def _browser() -> str | None:
    return next((path for name in _CHROMIUM if (path := shutil.which(name))), None)


async def _pages(
    place: Lab, size: int, worker: str, options: Options, paints: bool
) -> list[Row]:
    url, rows = f"http://127.0.0.1:{place.config.port}", list[Row]()
    at = Sized(size=size, of="workers")
    pages = {name: path.format(worker=worker) for name, path in _PAGES.items()}
    async with httpx2.AsyncClient(base_url=url, timeout=60, trust_env=False) as http:
        for name, path in pages.items():
            if (await http.get(path)).status_code != 200:
                continue
            rows += await _served(http, name, path, at)
    if paints:
        async with _chromium() as browser:
            for name, path in {**pages, _PLAIN: "/version"}.items():
                times = options.samples(_PAINTS)
                took = [await _paint(browser, url + path) for _ in range(times)]
                what, goal = f"first paint, {name}", "our goal"
                rows.append(at.row(what, median(took), "ms", reference=PAINT, against=goal))
    return rows


async def _served(http: httpx2.AsyncClient, name: str, path: str, at: Sized) -> list[Row]:
    kept = [await _view(http, path) for _ in range(_VIEWS)]
    anew = [await _view(http, f"{path}?view={number}") for number in range(_VIEWS)]
    weight, limit = await _weight(http, path) / 1024, "our limit"
    return [
        at.row(f"weight, {name}", weight, "KiB", reference=WEIGHT, against=limit),
        at.row(f"  server time, kept, {name}", median(kept), "ms"),
        at.row(f"  server time, made anew, {name}", median(anew), "ms"),
    ]


async def _view(http: httpx2.AsyncClient, path: str) -> float:
    began = time.perf_counter()
    (await http.get(path)).raise_for_status()
    return (time.perf_counter() - began) * 1000


async def _weight(http: httpx2.AsyncClient, path: str) -> int:
    """Bytes of the page and of what it links to, as they go over the wire."""
    page = await http.get(path)
    linked = dict.fromkeys(_LINKED.findall(page.text))
    answers = [page, *[await http.get(each.replace("&amp;", "&")) for each in linked]]
    return sum(_bytes(answer) for answer in answers)


def _bytes(answer: httpx2.Response) -> int:
    headers = sum(len(name) + len(value) + 4 for name, value in answer.headers.raw)
    return headers + int(answer.headers["content-length"])


@asynccontextmanager
async def _chromium() -> AsyncIterator[Any]:
    playwright = import_module("playwright.async_api").async_playwright
    async with playwright() as driver:
        browser = await driver.chromium.launch(
            executable_path=_browser(), args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            yield browser
        finally:
            await browser.close()


async def _paint(browser: Any, url: str) -> float:
    """Milliseconds until the first text or picture is seen, by somebody who was never here."""
    context = await browser.new_context()
    try:
        page = await context.new_page()
        await page.goto(url, wait_until="load")
        return float(
            await page.evaluate(
                "new Promise(done => new PerformanceObserver((list, seen) => {"
                " const first = list.getEntriesByName('first-contentful-paint')[0];"
                " if (first) { seen.disconnect(); done(first.startTime); }"
                "}).observe({type: 'paint', buffered: true}))"
            )
        )
    finally:
        await context.close()
