"""The probe container: really run, finds its marker and leaves it; or it is said why not."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tallystick.execution.executor import Ended, Outcome, RuntimeUnfit
from tallystick.execution.handmade import probe_image
from tallystick.execution.output import STALE
from tallystick.execution.probe import Seen, judge, run_marker

pytestmark = pytest.mark.anyio


async def test_every_runtime_runs_it_without_any_registry(executor, tmp_path: Path) -> None:
    for _ in range(2):  # the second time the image is here already
        seen = await run_marker(executor, tmp_path, "probe-test")
        assert seen == Seen()
    assert os.listdir(tmp_path) == []


async def test_what_a_killed_check_left_is_removed_by_a_later_one(
    executor, tmp_path: Path
) -> None:
    for name, age in (("probe-1", 2 * STALE), ("probe-2", 0.0)):
        (tmp_path / name / "in").mkdir(parents=True)
        os.utime(tmp_path / name, times=(time.time() - age,) * 2)
    assert await run_marker(executor, tmp_path, "probe-test") == Seen()
    assert os.listdir(tmp_path) == ["probe-2"], "another check may have it just now"


class Elsewhere:
    """A runtime whose disk is another one: as a Docker daemon sees paths that the worker's own
    container has from a volume of another name."""

    def __init__(self, executor: Any, folder: Path) -> None:
        self.executor, self.folder = executor, folder

    async def adopt(self, image: Any) -> None:
        await self.executor.adopt(image)

    async def run(self, job: Any) -> Any:
        return await self.executor.run(replace(job, input_dir=self.folder))


async def test_a_folder_that_is_another_one_for_the_runtime(executor, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    seen = await run_marker(Elsewhere(executor, other), tmp_path, "probe-test")  # type: ignore[arg-type]
    assert seen.not_shared
    assert "did not find the file in its input folder" in seen.trouble


async def test_a_folder_that_the_daemon_does_not_have(executor, tmp_path: Path) -> None:
    if executor.name != "docker":
        pytest.skip("only a daemon can have another idea of paths")
    missing = Elsewhere(executor, tmp_path / "nowhere")
    seen = await run_marker(missing, tmp_path, "probe-test")  # type: ignore[arg-type]
    assert seen.not_shared or seen.trouble


def ended(code: int | None, **more: Any) -> Outcome:
    known: dict[str, Any] = {"stdout": b"", "stderr": b"", "ended": Ended.EXITED, "seconds": 0}
    return Outcome(exit_code=code, **(known | more))


@pytest.mark.parametrize(
    ("outcome", "found", "trouble", "not_shared"),
    [
        (ended(0), "m", "", False),
        (ended(0), "", "did not arrive", True),
        (ended(0), "old", "did not arrive", True),
        (ended(10), "", "did not find", True),
        (ended(12), "", "could not write", True),
        (ended(None, ended=Ended.KILLED), "", "ended as killed", False),
        (ended(127, stderr=b"exec format error"), "", "exec format error", False),
    ],
)
def test_what_the_end_means(outcome: Outcome, found: str, trouble: str, not_shared: bool):
    seen = judge(outcome, found, "m")
    assert trouble in seen.trouble
    assert (seen.trouble == "") == (trouble == "")
    assert seen.not_shared == not_shared


def test_the_image_is_the_same_every_time_and_there_for_both_processors():
    images = {machine: probe_image(machine) for machine in ("x86_64", "aarch64")}
    assert images["x86_64"] == probe_image("x86_64")
    assert images["x86_64"].ref != images["aarch64"].ref
    with pytest.raises(RuntimeUnfit, match="x86_64 and aarch64; this machine is riscv64"):
        probe_image("riscv64")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="runs the program itself")
def test_the_program_tells_what_it_lacks(tmp_path: Path):
    """Run outside of any container there is no /iexec_in."""
    import io
    import tarfile

    with tarfile.open(fileobj=io.BytesIO(probe_image().layer)) as tar:
        tar.extractall(tmp_path, filter="data")
    assert not Path("/iexec_in/marker").exists()
    assert subprocess.run([tmp_path / "probe"], check=False).returncode == 10
