"""The benchmark that our promises rest on runs, and counts what it says it counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tallystick.bench import task_overhead
from tallystick.bench.report import Options
from tallystick.devnet.packages import PocoPackages

pytestmark = pytest.mark.anyio


async def test_task_overhead_measures_every_act_on_both_paths_in_both_modes(
    poco_packages: PocoPackages, tmp_path: Path
):
    report = await task_overhead.run(Options(work=tmp_path, repeat=1))
    figures = {row.what.strip(): row for row in report.rows}
    for mode in task_overhead.MODES:
        for path, acts in task_overhead.PATHS.items():
            name = f"{path}, {mode}"
            times = [figures[f"{act}, {name}"].figure for act in acts]
            assert all(each > 0 for each in times)
            total = figures[f"own overhead, {name}, median"].figure
            assert total == pytest.approx(sum(times))
            assert figures[f"the job itself, {name}, median"].figure > 0
        gas = figures[f"gas, {task_overhead.ONE_CALL}, {mode}, median"]
        assert gas.ratio is not None
        assert 0.75 < gas.ratio < 0.95, "some 15 % less"
        assert figures[f"time beside the job, {task_overhead.ONE_CALL}, {mode}, median"].ratio
        blocks = [
            figures[f"blocks, {path}, {mode}, median"].figure for path in task_overhead.PATHS
        ]
        assert blocks[1] < blocks[0]
