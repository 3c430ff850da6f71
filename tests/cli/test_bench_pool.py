"""The benches of a pool under load run against a real scheduler; its speed is not judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from tallystick.bench import assignments, idle_workers, push_latency, restart
from tallystick.bench.registry import chosen_benches
from tallystick.bench.report import Options, Report
from tallystick.devnet.packages import PocoPackages

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
    assert found["refused, 20 tasks"] == 0, "every request was given one of the tasks"
    assert found["assignments a second, 20 tasks"] > 0
    assert found["processor time each, 20 tasks"] > 0


async def test_pushes(options: Options) -> None:
    found = figures(await push_latency.run(options))
    assert 0 < found["push, median, 20 waiting"] <= found["push, p99, 20 waiting"]


async def test_idle_workers(options: Options) -> None:
    found = figures(await idle_workers.run(options, window=2.0))
    assert found["troubles, 20 workers"] == 0, "all wait, and every ping is answered"
    assert found["ping, p99, 20 workers"] > 0
    assert 20 < found["memory, 20 workers"] < 1024


async def test_restart(options: Options) -> None:
    found = figures(await restart.run(options))
    assert found["processor time, 20 tasks"] > 0
    assert found["exec to ready, 20 tasks"] > 0


def test_they_are_found_by_name() -> None:
    names = ("assignments", "idle-workers", "push-latency", "restart")
    assert [each.name for each in chosen_benches(names)] == list(names)
