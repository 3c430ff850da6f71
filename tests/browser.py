"""A real Chromium for tests, and what it is asked of every page."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, async_playwright

PATIENCE = 90_000
"""Milliseconds: a page that a busy machine shows late is not a wrong page."""
needs_chromium = pytest.mark.skipif(
    shutil.which("chromium") is None, reason="no chromium here (Debian package chromium)"
)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser of this test's own, without a window."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        )
        try:
            yield browser
        finally:
            await browser.close()


class Visit:
    """One tab, which remembers whatever a page should not do: errors, and scripts that ran.

    Wait with `wait_for_selector` (also `:text-is('…')`): the policy of our pages forbids
    `wait_for_function`.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))
        page.on("console", self._said)
        page.on("request", self._asked)

    def _said(self, message: object) -> None:
        if (kind := getattr(message, "type", "")) in {"error", "warning"}:
            self.complaints.append(f"{kind}: {getattr(message, 'text', '')}")

    def _asked(self, request: object) -> None:
        url = str(getattr(request, "url", ""))
        if not url.startswith(("http://127.0.0.1:", "data:")):
            self.complaints.append(f"asked elsewhere: {url}")

    async def barriers(self) -> list[str]:
        """What axe-core finds serious or critical on the page as it is now."""
        found = await Axe().run(self.page)
        return [
            f"{each['id']}: {each['nodes'][0]['target']} {each['help']}"
            for each in found.response["violations"]
            if each["impact"] in {"serious", "critical"}
        ]

    async def weight(self, url: str) -> int:
        """Bytes that a first visit of `url` brings over the wire, in a fresh context."""
        assert self.page.context.browser is not None
        context = await self.page.context.browser.new_context()
        sizes: list[int] = []
        try:
            page = await context.new_page()
            page.set_default_timeout(PATIENCE)
            line = await context.new_cdp_session(page)
            await line.send("Network.enable")
            line.on(
                "Network.loadingFinished",
                lambda event: sizes.append(int(event["encodedDataLength"])),
            )
            await page.goto(url, wait_until="load")
        finally:
            await context.close()
        return sum(sizes)

    async def picture(self, path: Path) -> None:
        """A screenshot of the whole page."""
        await self.page.screenshot(path=path, full_page=True)


@asynccontextmanager
async def visiting(browser: Browser, **how: object) -> AsyncIterator[Visit]:
    """A tab in a context of its own; `how` is what Playwright's `new_context` takes."""
    context = await browser.new_context(**how)  # type: ignore[arg-type]
    try:
        yield Visit(await context.new_page())
    finally:
        await context.close()
