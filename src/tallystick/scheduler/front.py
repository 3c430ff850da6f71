"""Everything a scheduler answers over HTTP, in one application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI

from tallystick import __version__
from tallystick.scheduler import (
    api,
    dashboard,
    figures,
    joining,
    lists,
    public,
    reference,
    refused,
    vitals,
)
from tallystick.scheduler.admission import Admission
from tallystick.scheduler.census import Census
from tallystick.scheduler.channel import open_channel
from tallystick.scheduler.config import SchedulerConfig
from tallystick.scheduler.dashboard.board import Board
from tallystick.scheduler.dashboard.past import Past
from tallystick.scheduler.dashboard.place import site_of
from tallystick.scheduler.dashboard.standings import Standings
from tallystick.scheduler.desk import Desk, IsUploaded
from tallystick.scheduler.doors import Doors
from tallystick.scheduler.express import Express
from tallystick.scheduler.joining import join_path, offer_of
from tallystick.scheduler.logs import LogBook, open_logs
from tallystick.scheduler.story import tell
from tallystick.scheduler.window import Window
from tallystick.wire.auth import Challenges, ReadingChallenges, Tokens, key_file
from tallystick.wire.limits import Limited, Limits
from tallystick.wire.proxies import Forwarded, networks
from tallystick.wire.rates import Allowance, RateLimited
from tallystick.wire.scheduler import ChainConfig, PublicConfig

if TYPE_CHECKING:
    from tallystick.engine.journal import Journal
    from tallystick.lifecycle.facts import Fact
    from tallystick.scheduler.pool import Pool

_LARGEST_BODY = 2 << 20
"""Bytes that a worker may send at once: two logs of 100,000 characters fit well."""
_ADDRESS_BURST, _WALLET_BURST = 4, 10
"""Seconds of an allowance that may be used at once. A worker with many slots tells much at a
time; behind one address there may be many of them."""


def front(
    config: SchedulerConfig,
    pool: Pool,
    journal: Journal[Fact],
    is_uploaded: IsUploaded,
    *,
    signs: vitals.Vitals | None = None,
    doors: Doors | None = None,
    past: Past | None = None,
) -> FastAPI:
    """The routes for workers and for everybody, the pages, and what guards them. `past`
    knows when tasks began and ended before this."""
    logs = open_logs(config.database, config.data_dir)
    signs = signs or vitals.Vitals(journal=journal, stale_after=config.stale_after)
    doors = doors or Doors(Challenges(), key_file(config.data_dir / "token.key"))
    counted = figures.Figures(pool, signs, Census(pool, config.lost_after))
    app = bare()
    told, chain = _introduction(config, pool)
    app.state.vitals, app.state.figures = signs, counted
    app.state.desk = Desk(
        pool=pool,
        config=told,
        chain=chain,
        admission=Admission(journal, config, pool.wallet.address),
        challenges=doors.challenges,
        tokens=Tokens(doors.token_key, pool=config.workerpool),
        logs=logs,
        history=lambda task: tell(journal.read(stream=str(task))),
        is_uploaded=is_uploaded,
        pushes=counted.pushes,
        allowance=_allowance(config.requests_per_wallet, _WALLET_BURST),
    )
    app.state.window = _window(config, pool, journal, logs, doors.reading_key)
    app.state.window.watch()
    open_channel(app, pool, journal, websocket=config.websocket)
    _pages(app, config, past)
    _guard(app, config)
    return app


def _pages(app: FastAPI, config: SchedulerConfig, past: Past | None) -> None:
    state = app.state
    state.dashboard = dashboard.Dashboard(
        site=site_of(config.name, join=join_path(config)),
        config=config,
        pool=state.desk.pool,
        window=state.window,
        figures=state.figures,
        admission=state.desk.admission,
        past=past or Past(),
        board=Board(state.desk.pool),
        standings=Standings(state.desk.pool.hub),
    )
    dashboard.attach(app, state.dashboard)
    if state.dashboard.site.join:
        offer = offer_of(config, state.dashboard.pool.hub.domain.chain_id)
        joining.attach(app, offer, config.wheelhouse, state.dashboard.site)


def _window(
    config: SchedulerConfig,
    pool: Pool,
    journal: Journal[Fact],
    logs: LogBook,
    key: bytes | None,
) -> Window:
    return Window(
        pool=pool,
        journal=journal,
        logs=logs,
        workerpool=config.workerpool,
        chain_id=pool.hub.domain.chain_id,
        lost_after=config.lost_after,
        url=config.public_url,
        challenges=ReadingChallenges(key=key),
    )


def bare() -> FastAPI:
    """Every route and its description, with nothing behind them: what documentation needs."""
    app = FastAPI(
        title="Tallystick scheduler",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    for part in (refused, api, public, lists, figures, vitals, reference):
        part.attach(app)
    return app


def _guard(app: FastAPI, config: SchedulerConfig) -> None:
    """The last one is asked first."""
    app.add_middleware(Express, ping=api.ping, available=api.available, facts=api.facts)
    app.add_middleware(Limited, limits=Limits(body=_LARGEST_BODY))
    allowance = _allowance(config.requests_per_address, _ADDRESS_BURST)
    app.add_middleware(RateLimited, allowance=allowance)
    trusted = networks(config.trusted_proxies)
    app.add_middleware(Forwarded, trusted=trusted, root_path=config.root_path)


def _allowance(rate: float, burst: int) -> Allowance:
    return Allowance(rate, round(rate * burst))


def _introduction(config: SchedulerConfig, pool: Pool) -> tuple[PublicConfig, ChainConfig]:
    """What workers are told of the pool and of its chain."""
    told = PublicConfig(
        worker_pool_address=config.workerpool,
        scheduler_public_address=pool.wallet.address,
        config_server_url=config.url,
        resultRepositoryURL=config.results_url,
        required_worker_version=config.required_worker_version,
    )
    chain = ChainConfig(
        chain_id=pool.hub.domain.chain_id,
        sidechain=config.sidechain,
        chain_node_url=config.worker_rpc_url or config.rpc_urls[0],
        iexec_hub_contract_address=config.hub,
        block_time=f"PT{config.block_time:g}S",
    )
    return told, chain
