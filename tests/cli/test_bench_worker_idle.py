"""The bench of an idle worker measures a real one; how long it takes is not judged here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tallystick.bench import worker_idle
from tallystick.bench.registry import chosen_benches
from tallystick.bench.report import Options
from tallystick.devnet.packages import PocoPackages

pytestmark = [pytest.mark.anyio, pytest.mark.long]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_every_figure_is_there(poco_packages: PocoPackages, tmp_path: Path) -> None:
    report = await worker_idle.run(Options(work=tmp_path, repeat=1), window=2.0)
    figures = {row.what.strip(): row.figure for row in report.rows}
    assert 20 < figures["resident memory, idle"] < figures["peak, while the wallet is opened"]
    assert figures["peak, while the wallet is opened"] > 256, "a wallet as strong as usual"
    parts = {"imports", "unlock", "container probe", "registration"}
    assert parts <= figures.keys()
    assert all(0 < figures[part] < figures["start to all set"] for part in parts)
    assert figures["processor, share of a core"] >= 0
    assert report.as_json()["bench"] == "worker-idle"


def test_it_is_found_by_its_name() -> None:
    (found,) = chosen_benches(["worker-idle"])
    assert found.run is worker_idle.run


def test_it_ends_in_good_order_when_it_is_told_to(
    poco_packages: PocoPackages, tmp_path: Path
) -> None:
    """Also in the middle of a minute in which nothing happens but counting."""
    words = [sys.executable, "-m", "tallystick", "bench", "worker-idle"]
    with (tmp_path / "said").open("w+") as said:
        bench = subprocess.Popen(
            words, stderr=said, stdout=said, env={**os.environ, "TMPDIR": str(tmp_path)}
        )
        try:
            give_up = time.monotonic() + 120
            while not any(tmp_path.glob("tally-bench-*/market/workers/*/control.sock")):
                assert bench.poll() is None and time.monotonic() < give_up  # noqa: PT018
                time.sleep(0.1)
            bench.send_signal(signal.SIGTERM)
            assert bench.wait(40) == 130
        finally:
            bench.kill()
        said.seek(0)
        assert "bug" not in said.read()
    assert not any(str(tmp_path) in line for line in processes())
    assert not any(tmp_path.glob("tally-bench-*"))


def processes() -> Iterator[str]:
    """The command lines of this machine."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it ended meanwhile
            yield path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
