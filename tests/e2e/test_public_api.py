"""The public interface of a real scheduler that has just had a task computed."""

from __future__ import annotations

import httpx2
import pytest
from market_lab import Lab

pytestmark = [pytest.mark.anyio, pytest.mark.long]


async def test_a_pool_at_work_tells_how_it_does(lab: Lab):
    ending = await lab.see(await lab.buy("digits"))
    assert ending.paid
    url = lab.market.scheduler_url
    async with httpx2.AsyncClient(base_url=url, trust_env=False) as http:
        assert (await http.get("/ready")).json() == {"status": "UP", "reasons": []}
        (deal,) = (await http.get("/deals")).json()
        assert deal["tasks"] == {"COMPLETED": 1}
        (worker,) = (await http.get(f"/tasks/{ending.task}")).json()["replicates"]
        history = (await http.get(f"{worker['self']}/history")).json()
        assert "Contributed" in {row["fact"] for row in history}
        assert (await http.get(worker["appLogs"])).status_code == 401
        figures = (await http.get("/pool")).json()
        assert figures["tasks"] == {"COMPLETED": 1}
        assert figures["workersAlive"] == 3
        metrics = dict(
            line.rsplit(" ", 1)
            for line in (await http.get("/prometheus")).text.splitlines()
            if not line.startswith("#")
        )
    assert float(metrics["tally_push_seconds_count"]) == 1
    assert float(metrics["tally_gas_spent_wei_total"]) > 0
    assert float(metrics["tally_chain_lag_blocks"]) <= 2
    assert float(metrics["tally_ready"]) == 1
