"""One scheduler over ASGI: real routes, journal and chain. Facts are recorded by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import httpx2
from fastapi import FastAPI

from tallystick.chain.hub import Hub
from tallystick.chain.rpc import Rpc
from tallystick.chain.wallet import Wallet
from tallystick.engine.clock import ChainClock
from tallystick.engine.engine import Engine
from tallystick.engine.journal import ChainRef, Journal
from tallystick.lifecycle.facts import Fact, Initialized, Ordered, Uploaded
from tallystick.poco.deal import Asset, Deal
from tallystick.poco.values import DealId, Tag, TaskId
from tallystick.scheduler.config import SchedulerConfig
from tallystick.scheduler.front import front
from tallystick.scheduler.inside import PoolEngine
from tallystick.scheduler.pool import Pool, PoolRules
from tallystick.scheduler.roster import Roster
from tallystick.wire.auth import login_digest

NOW = 1_800_000_000


async def nothing(command: object) -> Fact | None:
    raise AssertionError("the engine of these tests is not working")


@dataclass
class Office:
    """One scheduler over ASGI, and wallets that speak to it."""

    chain: Any
    folder: Path
    hub: Hub
    stored: set[tuple[str, str]]
    pool: Pool
    journal: Journal[Fact]
    http: httpx2.AsyncClient
    app: FastAPI

    def wallet(self, number: int) -> Wallet:
        return Wallet(self.chain.workers[number].key)

    async def login(self, wallet: Wallet) -> dict[str, str]:
        who = {"walletAddress": str(wallet.address)}
        challenge = await self.http.get("/workers/challenge", params=who)
        signature = wallet.sign_hash(login_digest(challenge.text))
        token = await self.http.post(
            "/workers/login", params=who, json={"value": "0x" + signature.hex()}
        )
        assert token.status_code == 200
        return {"authorization": f"Bearer {token.text}"}

    async def member(self, number: int, slots: int = 1) -> dict[str, str]:
        headers = await self.login(self.wallet(number))
        body = {"name": f"w{number}", "cpuNb": slots, "os": "Linux"}
        answer = await self.http.post("/workers/register", json=body, headers=headers)
        assert answer.json()["walletAddress"] == str(self.wallet(number).address)
        return headers

    def buy(self, number: int = 1, *, trust: int = 1, tag: Tag | None = None) -> TaskId:
        deal = Deal(
            DealId(bytes([number]) * 32),
            start=NOW,
            time_unit=300,
            trust=trust,
            workerpool=Asset(self.chain.workerpool, self.chain.scheduler.address, 10),
            requester=self.chain.requester.address,
        )
        if tag:
            deal = replace(deal, tag=tag)
        task = deal.task_id(0)
        self.pool.engine.record(str(task), Ordered(deal, 0), ref(1, number))
        return task

    def open(self, task: TaskId, block: int = 2) -> None:
        self.pool.engine.record(str(task), Initialized(), ref(block, task[0]))

    async def demand(self, headers: dict[str, str], **extra: Any) -> httpx2.Response:
        return await self.http.get(
            "/replicates/available", params={"blockNumber": 5, **extra}, headers=headers
        )

    async def report(
        self, headers: dict[str, str], task: TaskId, status: str, **details: Any
    ) -> tuple[int, Any]:
        answer = await self.http.post(
            f"/replicates/{task}/updateStatus",
            json={"status": status, "details": details or None},
            headers=headers,
        )
        return answer.status_code, answer.json() if answer.content else None


def ref(block: int, index: int) -> ChainRef:
    return ChainRef(block, f"0x{block:064x}", index)


def settings(chain: Any, folder: Path) -> SchedulerConfig:
    return SchedulerConfig(
        data_dir=folder,
        rpc_urls=(chain.url,),
        hub=chain.hub,
        workerpool=chain.workerpool,
        wallet=folder / "unused.json",
        password_file=folder / "unused",
        results_url="http://127.0.0.1:1",
    )


async def opened(chain: Any, folder: Path, rpc: Rpc) -> Office:
    hub, clock = await Hub.open(rpc, chain.hub), ChainClock()
    clock.saw(NOW)
    journal = Journal[Fact](folder / "journal.db", get_args(Fact))
    engine: PoolEngine = Engine(journal=journal, rules=PoolRules(clock), perform=nothing)
    pool = Pool(
        engine=engine,
        roster=Roster(journal),
        wallet=Wallet(chain.scheduler.key),
        hub=hub,
        clock=clock,
        history=journal.read(),
    )
    stored: set[tuple[str, str]] = set()

    async def is_uploaded(task: TaskId, told: Uploaded) -> bool:
        return (str(task), told.link) in stored

    app = front(settings(chain, folder), pool, journal, is_uploaded)
    http = httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app), base_url="http://pool", timeout=30
    )
    return Office(chain, folder, hub, stored, pool, journal, http, app)
