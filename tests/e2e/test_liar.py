"""One of five lies, and is first to vote: the others are paid with its stake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from market_lab import XS, Lab, market_lab, more_workers, only, wallet_of, with_worker

from tallystick.devnet.packages import PocoPackages
from tallystick.devnet.places import Places
from tallystick.poco.values import Hash, TaskId
from tallystick.requester.assets import register_dataset
from tallystick.requester.book import publish
from tallystick.requester.orders import app_offer, dataset_offer, workerpool_offer
from tallystick.worker.records import Records
from tallystick.worker.why import upshot

pytestmark = pytest.mark.anyio

APP, DATASET, POOL = 1_000_000_001, 500_000_003, 10_000_000_007
"""nRLC: the prices of the worked examples in the protocol's description."""

LIAR = Path(__file__).with_name("lying_worker.py")


async def offer_at_those_prices(lab: Lab, dataset) -> None:
    """The only offers in the book are at the prices of the example."""
    lab.market.orders.unlink()
    domain = lab.session.hub.domain
    publish(
        lab.market.orders,
        app_offer(
            lab.market.apps["digits"].address,
            price=APP,
            owner=wallet_of(lab.market, "app-owner"),
            domain=domain,
        ),
        dataset_offer(dataset, price=DATASET, owner=lab.requester, domain=domain),
        workerpool_offer(
            lab.market.workerpool,
            price=POOL,
            category=XS,
            owner=wallet_of(lab.market, "scheduler"),
            domain=domain,
        ),
    )


async def test_the_first_of_five_lies_and_loses_its_stake(
    poco_packages: PocoPackages, executor: str, tmp_path: Path
):
    children = only(1, children=with_worker(1, LIAR))
    async with market_lab(tmp_path, workers=5, executor=executor, children=children) as lab:
        dataset = await registered_dataset(lab)
        await offer_at_those_prices(lab, dataset)
        bought = await lab.buy("digits", trust=5, dataset=str(dataset))
        (task,) = bought.tasks
        await lab.until(task, lambda s: any(f["kind"] == "Contributed" for f in s["facts"]))
        async with more_workers(lab, 2, 3, 4, 5):
            ending = await lab.see(bought)
            assert ending.paid
            gains = lab.gains(ending)
        honest = {gains[f"worker-{n}"] for n in (2, 3, 4, 5)}
        assert honest == {3_217_500_002}
        assert gains["worker-1"] == -3_000_000_002
        assert gains["scheduler"] == 130_000_001
        assert gains["app-owner"] == APP
        assert gains["requester"] == -APP - DATASET - POOL + DATASET
        for n in range(1, 6):
            assert (await lab.stake(f"worker-{n}"))[1] == 0
        assert lab.leftovers(task) == []
        told = await the_liars_own_account(lab, task)
        assert told["lost"] == 3_000_000_002
        assert "Another result won the vote" in upshot(told)[0]
        assert upshot(told)[-1] == "A stake of 3000000002 nRLC was lost."


async def the_liars_own_account(lab: Lab, task: TaskId) -> dict[str, Any]:
    """What worker 1 noted of the task, once the chain has told it."""
    home = Places(lab.market.data).data("workers") / "worker-1"
    with anyio.fail_after(100):
        while True:
            with Records(home) as records:
                told = records.history(str(task))
            if told["settled"]:
                return told
            await anyio.sleep(0.05)


async def registered_dataset(lab: Lab):
    """A dataset without content, owned by the requester: only its price matters here."""
    return await register_dataset(
        lab.session, lab.requester, name="nothing", url="", checksum=Hash(bytes(32))
    )
