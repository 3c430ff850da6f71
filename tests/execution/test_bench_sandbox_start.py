"""The benchmark of sandboxes runs, whatever its figures are."""

from __future__ import annotations

import shutil

import pytest

from tallystick.bench import sandbox_start
from tallystick.bench.report import Options
from tallystick.execution import userns
from tallystick.execution.choose import KNOWN

pytestmark = [pytest.mark.anyio, pytest.mark.long]


async def test_every_runtime_is_measured_beside_plain_docker_or_missed_with_a_reason(
    docker_host, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_host)
    report = await sandbox_start.run(Options(work=tmp_path, repeat=1))
    measured = {row.what.removeprefix("start to end, "): row for row in report.rows}
    names = {label.partition(",")[0] for label in measured}
    assert "docker" in names
    for name in KNOWN:
        assert name in names or any(f"{name}" in note for note in report.notes), report
    for row in measured.values():
        known = row.figure is not None and row.figure > 0 and row.reference
        assert known or row.against.startswith("not here"), row
    assert measured["docker run alone"].ratio == 1
    assert shutil.which("srun") or measured["srun"].figure is None
    for name in names & {"runc", "crun", "runsc"}:
        assert f"{name}, no user namespace" in measured
        assert f"{name}, user namespace" in measured or userns.refusal()
