"""The bench of the pages runs against a real scheduler and browser; its speed is not judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from tallystick.bench import dashboard
from tallystick.bench.report import Options
from tallystick.devnet.packages import PocoPackages

pytestmark = [pytest.mark.anyio, pytest.mark.long]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_every_page_is_weighed_and_timed(poco_packages: PocoPackages, tmp_path: Path):
    assert poco_packages
    report = await dashboard.run(Options(work=tmp_path, repeat=1, quick=True))
    found = {row.what.strip(): row.figure for row in report.rows}
    for page in ("overview", "workers", "one worker", "tasks"):
        assert 2 < found[f"weight, {page}, 40 workers"] <= dashboard.WEIGHT
        assert found[f"server time, kept, {page}, 40 workers"] > 0
        assert found[f"server time, made anew, {page}, 40 workers"] > 0
        if not dashboard._missing():
            assert found[f"first paint, {page}, 40 workers"] > 0
            assert found["first paint, a line of text, 40 workers"] > 0


async def test_without_a_browser_the_bench_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("PATH", "/nowhere")
    assert "apt-get install chromium" in dashboard._missing()
    assert "First paint was not measured" in dashboard._notes(dashboard._missing())[1]
    monkeypatch.setattr(dashboard, "find_spec", lambda name: None)
    assert "Playwright" in dashboard._missing()
    assert len(dashboard._notes("")) == 1
