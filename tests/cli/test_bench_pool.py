"""The benches of a pool under load run against a real scheduler; its speed is not judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from tallystick.bench import assignments, idle_workers, push_latency, restart
from tallystick.bench.pool_lab import FILES, SERVER, stores
from tallystick.bench.registry import chosen_benches
from tallystick.bench.report import Options, Report
from tallystick.devnet.packages import PocoPackages
from tallystick.devnet.postgres import why_not

pytestmark = [pytest.mark.anyio, pytest.mark.long]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def options(poco_packages: PocoPackages, tmp_path: Path) -> Options:
    assert poco_packages
    return Options(work=tmp_path, repeat=3, quick=True)


def figures(report: Report) -> dict[str, float]:
    return {row.what.strip(): row.figure for row in report.rows}


async def test_assignments(options: Options) -> None:
    found = figures(await assignments.run(options))
    assert stores() == (FILES, SERVER) or why_not()
    for store in stores():
        of = f"20 workers, {store}"
        assert found[f"refused, {of}"] == 0, "every request was given one of the tasks"
        assert found[f"assignments a second, {of}"] > 0
        assert found[f"processor time each, {of}"] >= 0


async def test_pushes(options: Options) -> None:
    found = figures(await push_latency.run(options))
    assert found["troubles, 20 waiting"] == 0, "nobody has a task before it is dropped"
    assert 0 < found["push, median, 20 waiting"] <= found["push, p99, 20 waiting"]


async def test_idle_workers(options: Options) -> None:
    found = figures(await idle_workers.run(options, window=2.0, every=0.5))
    assert found["troubles, 20 workers"] == 0, "all wait, and every ping is answered"
    assert found["held open by each, 20 workers"] == 2
    assert found["pings a second, 20 workers"] > 0
    assert found["ping, p99, 20 workers"] > 0
    assert 20 < found["memory, 20 workers"] < 1024


async def test_restart(options: Options) -> None:
    found = figures(await restart.run(options))
    assert found["processor time, 20 tasks"] > 0
    assert found["exec to ready, 20 tasks"] > 0


def test_they_are_found_by_name() -> None:
    names = ("assignments", "idle-workers", "push-latency", "restart")
    assert [each.name for each in chosen_benches(names)] == list(names)
