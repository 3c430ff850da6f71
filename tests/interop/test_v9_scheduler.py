"""Workers of ours under a v9 scheduler, on a real chain: a strict peer plays it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from test_v9_workers import living, mischief
from v9_snapshots import LIFE
from v9_stage import Stage, ends, staged
from v9_worker import V9Worker

from tallystick.devnet.packages import PocoPackages

pytestmark = [pytest.mark.anyio, pytest.mark.long]


@pytest.fixture(scope="module")
async def stage(
    anyio_backend: str, poco_packages: PocoPackages, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    """One chain for all stories; each has a scheduler of its own, and wallets of its own."""
    folder = tmp_path_factory.mktemp("v9")
    async with staged(folder, poco_packages, workers=16) as stage:
        yield stage


async def test_the_two_strict_peers_understand_each_other(stage: Stage, tmp_path: Path):
    """A v9 worker under a v9 scheduler, neither of them ours: what both take is the protocol."""
    scheduler = await stage.scheduler()
    worker = V9Worker(
        core_url=stage.market.scheduler_url,
        pool=str(stage.market.workerpool),
        key=stage.key("worker-16"),
        folder=tmp_path,
        abi=stage.abi,
        app=mischief,
    )
    async with scheduler.running(), living(worker):
        task = await stage.buy(scheduler)
        known = await ends(scheduler, task)
        assert scheduler.statuses(task, worker.me) == LIFE
        assert scheduler.proxy.places[task] in known.link
    assert scheduler.problems == scheduler.proxy.refusals == scheduler.broker.problems == []
    assert scheduler.core.refused == scheduler.hasty == scheduler.unheard == []
