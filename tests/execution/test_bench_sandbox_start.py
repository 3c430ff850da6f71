"""The benchmark of sandboxes runs, whatever its figures are."""

from __future__ import annotations

import pytest

from tallystick.bench import sandbox_start
from tallystick.bench.report import Options
from tallystick.execution.choose import KNOWN

pytestmark = [pytest.mark.anyio, pytest.mark.long]


async def test_every_runtime_is_measured_beside_plain_docker_or_missed_with_a_reason(
    docker_host, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_host)
    report = await sandbox_start.run(Options(work=tmp_path, repeat=1))
    measured = {row.what.removeprefix("start to end, "): row for row in report.rows}
    assert "docker" in measured
    for name in KNOWN:
        assert name in measured or any(f"{name}" in note for note in report.notes), report
    assert all(row.figure > 0 and row.reference for row in measured.values()), report
