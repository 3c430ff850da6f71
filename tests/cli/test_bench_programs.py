"""The benches that run whole commands run them; how long they take is not judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from tallystick.bench import simulation, start_up
from tallystick.bench.report import Options

pytestmark = [pytest.mark.anyio, pytest.mark.long]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_every_start_is_measured_beside_python_alone(tmp_path: Path) -> None:
    report = await start_up.run(Options(work=tmp_path, quick=True))
    ratios = {row.what: row.ratio for row in report.rows}
    assert ratios.keys() == start_up.COMMANDS.keys()
    assert all(ratios.values())
    assert ratios["python3 -c pass"] == 1.0


async def test_simulated_time_is_measured_on_one_processor_and_on_all(tmp_path: Path) -> None:
    report = await simulation.run(Options(work=tmp_path, quick=True))
    figures = {row.what: row.figure for row in report.rows}
    assert sum(name.startswith("simulated hours a minute") for name in figures) == 2
    assert all(figures.values())
