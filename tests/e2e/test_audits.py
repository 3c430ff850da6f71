"""A pool that audits, with a liar: nothing wrong reaches the chain, and the liar is found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread
from market_lab import DEV, Lab, market_lab, more_workers, only, scripted, with_worker
from test_status_causes import later

from tallystick.devnet.packages import PocoPackages
from tallystick.devnet.places import Places
from tallystick.devnet.supervise import Service
from tallystick.poco.values import TaskId
from tallystick.wire.remote import ask

pytestmark = [pytest.mark.anyio, pytest.mark.long]

LIAR = Path(__file__).with_name("lying_worker.py")
HOLDER = LIAR.with_name("holding_liar.py")
MORTAL = LIAR.with_name("dying_scheduler.py")
UNIT = 60
"""Seconds of the category DEV."""


DEATHS = (
    "after Computed",
    *(f"{when} {what}" for what in ("Audited", "Authorized") for when in ("before", "after")),
)
"""When the scheduler is killed, once each."""


def auditing(auditor: str, liar: Path = LIAR, deaths: Sequence[str] = ()) -> Any:
    """Worker 1 lies and is there first; everything is audited, by `auditor`. The scheduler
    dies `deaths`."""
    chosen = only(1, children=with_worker(1, liar))

    def children(plan: Any, console: Any, memory: Any) -> Sequence[Service]:
        config = plan.places.config("scheduler")
        wallets = json.dumps([str(plan.accounts[auditor])])
        services = chosen(plan, console, memory)
        kept = config.read_text()
        config.write_text(f"audit = 1.0\nauditors = {wallets}\n{kept}")
        config.with_suffix(".deaths").write_text("\n".join(deaths))
        return [
            scripted(each, MORTAL) if each.name == "scheduler" else each for each in services
        ]

    return children


def computed(lab: Lab, worker: str) -> Any:
    """Whether the story tells that this worker has handed in what it computed."""
    address = str(lab.market.accounts[worker])
    return lambda story: any(
        fact["kind"] == "Computed" and fact["worker"] == address for fact in story["facts"]
    )


async def facts(lab: Lab, task: TaskId) -> dict[str, list[str]]:
    """Who did what, by role."""
    names = {str(address): role for role, address in lab.market.accounts.items()}
    found: dict[str, list[str]] = {}
    for fact in (await lab.story(task))["facts"]:
        found.setdefault(fact["kind"], []).append(names.get(fact["worker"] or "", ""))
    return found


async def test_a_liar_is_found_and_the_honest_are_paid_whenever_the_scheduler_dies(
    poco_packages: PocoPackages, executor: str, tmp_path: Path
):
    options: dict[str, Any] = {"workers": 3, "executor": executor}
    async with market_lab(
        tmp_path, children=auditing("worker-3", deaths=DEATHS), **options
    ) as lab:
        bought = await lab.buy("digits")
        (first,) = bought.tasks
        await lab.until(first, computed(lab, "worker-1"))
        async with more_workers(lab, 3):
            ending = await lab.see(bought)
        assert ending.paid
        gains = lab.gains(ending)
        assert gains["worker-3"] > 0, "what the auditor computed is the result"
        assert "worker-1" not in gains
        happened = await facts(lab, first)
        assert happened["Audited"] == ["worker-1"]
        assert happened["Authorized"] == happened["Contributed"] == ["worker-3"]
        assert happened["Computed"] == ["worker-1", "worker-3"], "two executions"
        liar = next(
            r
            for r in (await lab.story(first))["replicates"]
            if r["worker"] == str(lab.market.accounts["worker-1"])
        )
        assert (liar["status"], liar["cause"]) == ("failed", "AUDIT_DIFFERED")

        async with more_workers(lab, 2):
            bought = await lab.buy("digits")
            (second,) = bought.tasks
            await lab.until(second, computed(lab, "worker-2"))
            async with more_workers(lab, 3):
                ending = await lab.see(bought)
        assert ending.paid
        gains = lab.gains(ending)
        assert gains["worker-2"] > 0, "who is right is paid"
        assert {"worker-1", "worker-3"}.isdisjoint(gains)
        happened = await facts(lab, second)
        assert set(happened["Assigned"]) == {"worker-2", "worker-3"}, "the liar waits in vain"
        assert happened["Contributed"] == ["worker-2"]
        assert await answer_to_the_liar(lab) == "DISTRUSTED"
        await the_operator_pardons(lab)
        left = Places(lab.market.data).config("scheduler").with_suffix(".deaths").read_text()
        assert left == "", "it has died all its deaths"


async def the_operator_pardons(lab: Lab) -> None:
    """What the pool tells of worker 1, and what it says when that is forgotten."""
    liar, home = str(lab.market.accounts["worker-1"]), Places(lab.market.data).data("scheduler")
    told = await to_thread.run_sync(partial(ask, home, "workers", noun="pool"))
    rows = {row["wallet"]: row for row in told["workers"]}
    assert (rows[liar]["belief"], rows[liar]["audits_differed"]) == ("distrusted", 1)
    honest = rows[str(lab.market.accounts["worker-2"])]
    assert (honest["belief"], honest["audits"]) == ("probation", 1)
    assert rows[str(lab.market.accounts["worker-3"])]["belief"] == "auditor"
    told = await to_thread.run_sync(partial(ask, home, "pardon", noun="pool", wallet=liar))
    assert told["was_distrusted"]
    bought = await lab.buy("digits")
    (task,) = bought.tasks
    await lab.until(task, computed(lab, "worker-1"))


async def answer_to_the_liar(lab: Lab) -> str:
    """Why worker 1 has no work, as it tells its operator once a demand of it has ended."""
    places = Places(lab.market.data)
    home = places.data("workers") / "worker-1"
    with anyio.fail_after(100):
        while True:
            told = await to_thread.run_sync(partial(ask, home, "status"))
            if (answer := told["scheduler"]["answer"]) is not None:
                return str(answer)
            await anyio.sleep(0.2)


async def test_what_a_worker_decided_wrongly_that_could_vote_from_the_start_is_not_paid(
    poco_packages: PocoPackages, executor: str, tmp_path: Path
):
    options: dict[str, Any] = {"workers": 3, "executor": executor}
    children = auditing("worker-3", HOLDER)
    async with market_lab(tmp_path, children=children, **options) as lab:
        bought = await lab.buy("digits", category=DEV)
        (task,) = bought.tasks
        await lab.until(task, lambda story: any(has(story, "Revealed")))
        async with more_workers(lab, 3):
            await lab.until(task, lambda story: any(has(story, "Audited")))
        await later(lab, 10 * UNIT + 1)
        ending = await lab.see(bought)
        assert not ending.paid, "the requester has its money back"
        gains = lab.gains(ending)
        assert "worker-1" not in gains, "a claim gives its stake back"
        assert gains["scheduler"] < 0, "what it costs the pool"
        happened = await facts(lab, task)
        assert happened["Audited"] == happened["Contributed"] == ["worker-1"]
        assert happened["Computed"] == ["worker-1", "worker-3"]
        assert "Finalized" not in happened


def has(story: dict[str, Any], kind: str) -> Any:
    return (fact["kind"] == kind for fact in story["facts"])
