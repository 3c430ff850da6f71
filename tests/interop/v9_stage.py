"""A market without a scheduler of ours: a v9 one takes its place, in the test's own process."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from eth_account import Account
from market_lab import Lab
from own_worker import USUAL, OwnWorker
from v9_chain import Chain
from v9_scheduler import V9Scheduler
from v9_tasks import CoreTask

from tallystick.cli import local
from tallystick.devnet.market import Market, MarketOptions, running
from tallystick.devnet.packages import PocoPackages, default_cache
from tallystick.devnet.places import password_in
from tallystick.devnet.ports import Ports
from tallystick.devnet.services import CHAIN, REGISTRY, Plan, services
from tallystick.devnet.supervise import Service
from tallystick.requester.session import open_session

PATIENCE = 120.0
"""Seconds after which what others should do will not come."""


@dataclass
class Stage:
    """A chain with contracts and wallets, and places for a scheduler and its workers."""

    lab: Lab
    ports: Ports
    abi: Path

    @property
    def market(self) -> Market:
        return self.lab.market

    def key(self, role: str) -> bytes:
        keystore = json.loads(self.market.keystores[role].read_text())
        return bytes(Account.decrypt(keystore, password_in(self.market.password_file)))

    def wallet(self, role: str) -> str:
        return str(self.market.accounts[role])

    def chain(self, role: str) -> Chain:
        """The chain as this role sees it."""
        market = self.market
        key = self.key(role)
        return Chain(market.rpc_url, market.chain_id, str(market.hub), key, self.abi)

    async def scheduler(self, **options: Any) -> V9Scheduler:
        """A v9 scheduler that knows of no deal before now."""
        chain, pool = self.chain("scheduler"), str(self.market.workerpool)
        made = V9Scheduler(chain, pool, self.ports.scheduler, self.ports.results, **options)
        made.core.start_block = await chain.head() + 1
        return made

    async def buy(self, scheduler: V9Scheduler, text: str = "ok hello", **wish: Any) -> str:
        """A task, once the scheduler knows of it."""
        image = self.lab.shelve("mischief", default_cache())
        bought = await self.lab.buy(image, text, **wish)
        id = str(bought.tasks[0])
        await until(lambda: id in scheduler.core.tasks, f"{id} to be seen")
        return id

    async def stake(self, role: str) -> int:
        """All that a role has inside the hub, in nRLC."""
        return sum(await self.lab.stake(role))


@asynccontextmanager
async def staged(folder: Path, packages: PocoPackages, workers: int) -> AsyncIterator[Stage]:
    """The market's chain and image registry alone run."""
    plans: list[Plan] = []

    def children(plan: Plan, console: Any, memory: Any) -> list[Service]:
        plans.append(plan)
        every = services(plan, console, memory)
        return [each for each in every if each.name in (CHAIN, REGISTRY)]

    said: list[str] = []
    options = MarketOptions(data=folder / "market", workers=workers, executor="bubblewrap")
    async with (
        running(options, said.append, children) as market,
        open_session(market.place) as session,
    ):
        requester = local.unlocked(market, None, None)
        lab = Lab(market, session, requester, folder / "results", said, None)  # type: ignore[arg-type]
        abi = packages.poco / "abis" / "contracts" / "IexecInterfaceToken.json"
        yield Stage(lab, plans[0].ports, abi)


@asynccontextmanager
async def our_worker(
    stage: Stage, name: str, program: tuple[str, ...] = USUAL
) -> AsyncIterator[OwnWorker]:
    """A worker process of ours, which runs as long as the block and is killed at its end."""
    worker = OwnWorker(stage.lab, name)
    await worker.start(program)
    try:
        yield worker
    finally:
        assert worker.process is not None
        if worker.process.returncode is None:
            worker.process.kill()
            with anyio.CancelScope(shield=True):
                await worker.process.wait()


async def until(met: Callable[[], Any], what: str = "", told: Callable[[], Any] = str) -> None:
    """Return once it is so; `told` says, when it never is, what is so instead."""
    with anyio.move_on_after(PATIENCE):
        while not met():  # noqa: ASYNC110 (other processes)
            await anyio.sleep(0.05)
        return
    raise AssertionError(f"Waited in vain for {what}. {told()}")


async def ends(scheduler: V9Scheduler, task: str, status: str = "COMPLETED") -> CoreTask:
    """The task once it has this status, and all of its replicates were told to their end."""
    known = scheduler.core.tasks[task]

    def told() -> str:
        lives = {r.wallet: r.history for r in known.replicates.values()}
        wrong = [*scheduler.core.refused, *scheduler.problems][:3]
        return f"{known.statuses} {lives} {wrong}"

    def over() -> bool:
        last = ("COMPLETED", "ABORTED", "FAILED")
        assert not scheduler.problems, told()
        return known.over and all(r.relevant in last for r in known.replicates.values())

    await until(over, f"the end of {task}", told)
    assert known.status == status, told()
    return known


__all__ = ["OwnWorker", "Stage", "ends", "our_worker", "staged", "until"]
