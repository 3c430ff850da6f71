"""What audits found about a worker, in a real browser: readable, light and dark, on a phone."""

from __future__ import annotations

import pytest
from browser import chromium, needs_chromium, visiting
from scheduler_office import Office
from test_dashboard_pages import audited
from test_dashboard_tasks_browser import look_at, served

from tallystick.lifecycle.evidence import Policy

pytestmark = [pytest.mark.anyio, pytest.mark.long, needs_chromium]


async def test_what_audits_found_is_readable_everywhere(office: Office):
    for number in range(2):
        await office.member(number)
    office.pool.audits.open(office.journal, Policy(0.05), ())
    stranger, liar = audited(office, 0, True, True), audited(office, 1, True, False)
    async with served(office.app) as url, chromium() as browser:
        for scheme, width in (("light", 1280), ("dark", 360)):
            how = {"color_scheme": scheme, "viewport": {"width": width, "height": 800}}
            async with visiting(browser, **how) as visit:
                for name, worker in (("stranger", stranger), ("liar", liar)):
                    path = f"/dashboard/workers/{worker}"
                    await look_at(visit, url, path, f"audits-{name}-{scheme}-{width}")
                    told = await visit.page.inner_text("#audits")
                    assert ("It gets no tasks" if worker == liar else "93 more to go") in told
        office.pool.changes.close()
