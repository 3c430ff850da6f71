"""The scheduler as a program: builds the parts and hands them to each other."""

from __future__ import annotations

import logging
import socket
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
from fastapi import FastAPI

from tallystick.chain.abi import topic
from tallystick.chain.contracts import SCHEDULER_NOTICE
from tallystick.chain.follow import Follower
from tallystick.chain.heads import Heads
from tallystick.chain.hub import Hub
from tallystick.chain.logs import TASK_TOPICS
from tallystick.chain.rpc import Rpc
from tallystick.chain.sender import Fees, Sender
from tallystick.chain.wallet import Wallet
from tallystick.chain.watcher import Watcher
from tallystick.engine.clock import ChainClock
from tallystick.engine.engine import Engine
from tallystick.engine.errors import Unavailable
from tallystick.engine.journal import Journal
from tallystick.engine.settings import load, secret
from tallystick.lifecycle.facts import Fact
from tallystick.scheduler.admin import Office, open_office
from tallystick.scheduler.admin_course import first_of
from tallystick.scheduler.admin_metrics import Takings
from tallystick.scheduler.admin_place import held
from tallystick.scheduler.company import Company, open_company, unless_others
from tallystick.scheduler.config import SchedulerConfig
from tallystick.scheduler.dashboard.past import Past
from tallystick.scheduler.deals import births
from tallystick.scheduler.front import front
from tallystick.scheduler.inside import PoolEngine
from tallystick.scheduler.pool import Pool, PoolRules
from tallystick.scheduler.steps import PoolSteps
from tallystick.scheduler.uploads import Uploads
from tallystick.wire import serving
from tallystick.wire.results import ResultsClient
from tallystick.wire.stopping import until_stopped
from tallystick.wire.tls import Certificate

log = logging.getLogger(__name__)

_CHECKS = 5.0
"""Seconds between two looks for workers that fell silent."""


class NotThePool(Exception):
    """The wallet is not the owner of the workerpool, so nobody would believe its signature."""


@dataclass(slots=True)
class Parts:
    """What a running scheduler consists of."""

    config: SchedulerConfig
    journal: Journal[Fact]
    pool: Pool
    follower: Follower
    sender: Sender
    heads: Heads
    app: FastAPI
    office: Office
    company: Company


async def serve(path: Path, database: str = "") -> None:
    """Run the scheduler whose settings are in `path`, until told to stop; `database` counts for
    more than what they say."""
    config = load(path, SchedulerConfig)
    config = replace(config, database=database or config.database)
    certificate = Certificate.named(config.tls_cert, config.tls_key)
    guarded = certificate is not None or bool(config.trusted_proxies)
    async with AsyncExitStack() as stack:
        stack.enter_context(held(config.data_dir))
        sock = serving.listen(config.host, config.port, guarded=guarded)
        stack.callback(sock.close)
        config = replace(config, port=sock.getsockname()[1])
        parts = await _build(config, stack)
        async with anyio.create_task_group() as tasks:
            for service in (parts.heads.run, parts.sender.run, parts.company.run):
                tasks.start_soon(service)
            tasks.start_soon(parts.follower.run)
            tasks.start_soon(_watch_workers, parts)
            tasks.start_soon(_watch_deadlines, parts)
            tasks.start_soon(parts.office.run)
            tasks.start_soon(parts.app.state.dashboard.run)
            await tasks.start(_serve_http, parts, sock, certificate)
            async with parts.pool.engine.working():
                parts.app.state.vitals.recovered = True
                log.info("The scheduler of %s is ready at %s", config.workerpool, config.url)
                await first_of(until_stopped, parts.office.until_drained)
                parts.pool.changes.close()
                parts.app.state.channel.close()
            tasks.cancel_scope.cancel()


async def _serve_http(
    parts: Parts,
    sock: socket.socket,
    certificate: Certificate | None,
    *,
    task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    await serving.serve(
        parts.app,
        sock,
        certificate=certificate,
        websocket=parts.config.websocket,
        task_status=task_status,
    )


async def _watch_workers(parts: Parts) -> None:
    while True:
        await anyio.sleep(_CHECKS)
        with suppress(Unavailable):  # what cannot be written now is seen again
            parts.pool.mark_lost(parts.config.lost_after)


async def _watch_deadlines(parts: Parts) -> None:
    """With every block: the next one may end the task, and then nobody was late for it."""
    seen = 0
    while True:
        seen = await parts.heads.change(seen, within=_CHECKS)
        with suppress(Unavailable):
            parts.pool.mark_overdue()


async def _build(config: SchedulerConfig, stack: AsyncExitStack) -> Parts:
    config.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    wallet = Wallet.load(config.wallet, secret(config.password_file))
    rpc = await stack.enter_async_context(Rpc(config.rpc_urls, ca=config.ca_file))
    hub = await Hub.open(rpc, config.hub)
    await _require_owner(hub, config, wallet)
    company = open_company(config, wallet, config.url)
    stack.callback(company.close)
    journal: Journal[Fact] = company.journal
    heads, clock = Heads(rpc, config.ws_url), ChainClock()
    sender = company.sender(
        rpc, wallet, chain_id=hub.domain.chain_id, fees=_fees(config), heads=heads
    )
    steps = PoolSteps(hub, sender, clock)
    engine: PoolEngine = Engine(journal=journal, rules=PoolRules(clock), perform=steps.perform)
    follower = _follower(config, engine, heads, hub=hub, clock=clock, company=company)
    past = Past()
    pool = _pool(config, engine, wallet, company=company, hub=hub, clock=clock, past=past)
    steps.authorize = pool.authorize
    results = await stack.enter_async_context(ResultsClient(config.results_url, config.ca_file))
    uploads = Uploads(engine.states, results)
    app = front(config, pool, journal, uploads.has, doors=company.doors, past=past)
    desk, window = app.state.desk, app.state.window
    office = open_office(
        config,
        pool,
        journal,
        sender=sender,
        fees=_fees(config),
        admission=desk.admission,
        company=company,
    )
    window.orders = office.orders
    app.state.figures.registry.register(Takings(office.figures))
    app.state.vitals.know(heads, follower, sender)
    follower.caught_up = app.state.channel.wake_all
    app.state.dashboard.know(office.watch, office.book)
    app.state.office = office
    company.open(pool, app, office.steered)
    return Parts(config, journal, pool, follower, sender, heads, app, office, company)


def _pool(
    config: SchedulerConfig,
    engine: PoolEngine,
    wallet: Wallet,
    *,
    company: Company,
    hub: Hub,
    clock: ChainClock,
    past: Past,
) -> Pool:
    pool = Pool(
        engine=engine,
        roster=company.roster,
        wallet=wallet,
        hub=hub,
        clock=clock,
        history=past.overhear(company.journal.read()),
    )
    pool.giving.unstaked = config.contribute_and_finalize
    pool.audits.open(company.journal, config.policy, config.auditors)
    return pool


async def _require_owner(hub: Hub, config: SchedulerConfig, wallet: Wallet) -> None:
    owner = (await hub.workerpool(config.workerpool)).owner
    if owner != wallet.address:
        raise NotThePool(
            f"Workerpool {config.workerpool} belongs to {owner}, but the wallet in"
            f" {config.wallet} is {wallet.address}: use the owner's wallet."
        )


def _fees(config: SchedulerConfig) -> Fees:
    return Fees(
        multiplier=config.gas_price_multiplier,
        cap=config.gas_price_cap,
        legacy=config.legacy_fees,
    )


def _follower(
    config: SchedulerConfig,
    engine: PoolEngine,
    heads: Heads,
    *,
    hub: Hub,
    clock: ChainClock,
    company: Company,
) -> Follower:
    watcher = Watcher(
        hub.rpc,
        address=hub.address,
        topics=(topic(SCHEDULER_NOTICE), *TASK_TOPICS),
        cursor=company.cursor,
        confirmations=config.confirmations,
        start=config.start_block,
        heads=heads,
    )
    watcher.rewound = company.rewound
    born = births(hub, config.workerpool, unless_others(engine.record))
    return Follower(hub=hub, watcher=watcher, engine=engine, clock=clock, births=born)
