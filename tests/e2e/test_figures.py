"""The benchmark that our promises rest on runs, and counts what it says it counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tallystick.bench import task_overhead
from tallystick.bench.report import Options
from tallystick.devnet.overhead import ACTS
from tallystick.devnet.packages import PocoPackages

pytestmark = pytest.mark.anyio


async def test_task_overhead_measures_every_act_in_both_modes(
    poco_packages: PocoPackages, tmp_path: Path
):
    report = await task_overhead.run(Options(work=tmp_path, repeat=1))
    figures = {row.what.strip(): row for row in report.rows}
    for mode in ("1 s blocks", "automine"):
        acts = [figures[f"{act}, {mode}"].figure for act in ACTS]
        assert all(act > 0 for act in acts)
        assert figures[f"own overhead, {mode}, median"].figure == pytest.approx(sum(acts))
        assert figures[f"the job itself, {mode}, median"].figure > 0
        assert figures[f"blocks, {mode}, median"].figure >= 3
