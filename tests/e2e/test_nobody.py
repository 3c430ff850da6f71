"""Nobody computes in time: the scheduler takes the money back for the requester."""

from __future__ import annotations

from pathlib import Path

import pytest
from market_lab import TINY, market_lab, only

from tallystick.devnet.packages import PocoPackages

pytestmark = pytest.mark.anyio


async def test_without_a_worker_in_time_the_requester_is_refunded(
    poco_packages: PocoPackages, tmp_path: Path
):
    async with market_lab(tmp_path, workers=1, children=only(), alive=0) as lab:
        before = {role: await lab.stake(role) for role in ("requester", "scheduler")}
        bought = await lab.buy("digits", category=TINY)
        ending = await lab.see(bought)
        assert not ending.paid
        assert await lab.stake("requester") == before["requester"]
        free, locked = before["scheduler"]
        stake = bought.deal.workerpool.price * 30 // 100
        assert await lab.stake("scheduler") == (free - stake, locked), "it went to the kitty"
