"""Deals are bought, computed in a sandbox, proved on chain and paid: real processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from market_lab import TINY, Lab

pytestmark = pytest.mark.anyio

POOL, APP = 1_000_000_000, 100_000_000
"""nRLC a task: the local pool's price and the example apps'."""


async def test_a_task_at_trust_1_is_computed_and_paid(lab: Lab):
    ending = await lab.see(await lab.buy("digits"))
    assert ending.paid
    (worker,) = [role for role in lab.gains(ending) if role.startswith("worker")]
    assert lab.gains(ending) == {
        "requester": -POOL - APP,
        "app-owner": APP,
        "scheduler": POOL // 100,
        worker: POOL * 99 // 100,
    }
    result = json.loads((ending.result / "computed.json").read_text())
    assert result["deterministic-output-path"] == "/iexec_out/digits"
    assert "<svg" in (ending.result / "digits" / "digits.svg").read_text()
    assert lab.leftovers(ending.task) == []


async def test_at_trust_5_three_new_workers_agree_and_share(lab: Lab):
    ending = await lab.see(await lab.buy("corpus", "generator", trust=5))
    assert ending.paid
    gains = lab.gains(ending)
    assert sorted(role for role in gains if role.startswith("worker")) == [
        "worker-1",
        "worker-2",
        "worker-3",
    ]
    share = POOL * 99 // 100 // 3
    assert {gains[f"worker-{n}"] for n in (1, 2, 3)} == {share}
    assert gains["scheduler"] == POOL - 3 * share
    assert lab.leftovers(ending.task) == []
    for role in ("worker-1", "worker-2", "worker-3", "scheduler"):
        assert (await lab.stake(role))[1] == 0, "nobody's stake is still locked"


async def test_an_app_that_fails_is_not_paid(lab: Lab, cache: Path):
    """Nobody gets a result: the task ends by claim, and the requester has its money back."""
    image = lab.shelve("mischief", cache)
    before = await lab.stake("requester")
    bought = await lab.buy(image, "silent", category=TINY)
    ending = await lab.see(bought)
    assert not ending.paid
    assert await lab.stake("requester") == before
    story = await lab.story(ending.task)
    assert {r["modern"] for r in story["replicates"]} <= {"COMPUTE_FAILED", "ABORTED"}
    assert lab.leftovers(ending.task) == []
    for role in ("worker-1", "worker-2", "worker-3"):
        assert (await lab.stake(role))[1] == 0


async def test_an_app_that_never_ends_is_stopped_and_not_paid(lab: Lab, cache: Path):
    image = lab.shelve("mischief", cache)
    before = await lab.stake("requester")
    ending = await lab.see(await lab.buy(image, "endless", category=TINY))
    assert not ending.paid
    assert await lab.stake("requester") == before
    story = await lab.story(ending.task)
    assert "APP_COMPUTE_TIMEOUT" in {r["cause"] for r in story["replicates"]}
    assert lab.leftovers(ending.task) == []


async def test_an_app_that_exits_with_an_error_but_leaves_a_result_is_paid(
    lab: Lab, cache: Path
):
    """The protocol pays for results, not for exit codes."""
    image = lab.shelve("mischief", cache)
    ending = await lab.see(await lab.buy(image, "fail 3"))
    assert ending.paid
    story = await lab.story(ending.task)
    assert {r["exitCode"] for r in story["replicates"]} == {3}
