"""The bench of an idle worker measures a real one; how long it takes is not judged here."""

from __future__ import annotations

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
