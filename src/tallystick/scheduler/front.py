"""Everything a scheduler answers over HTTP, in one application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI

from tallystick import __version__
from tallystick.engine.journal import Journal
from tallystick.lifecycle.facts import Fact
from tallystick.scheduler import api, page, public
from tallystick.scheduler.config import SchedulerConfig
from tallystick.scheduler.logs import LogBook
from tallystick.scheduler.story import tell
from tallystick.wire.auth import Challenges, Tokens, key_file
from tallystick.wire.limits import Limited, Limits
from tallystick.wire.scheduler import ChainConfig, PublicConfig

if TYPE_CHECKING:
    from tallystick.scheduler.pool import Pool

_LARGEST_BODY = 2 << 20
"""Bytes that a worker may send at once: two logs of 100,000 characters fit well."""


def front(
    config: SchedulerConfig, pool: Pool, journal: Journal[Fact], is_uploaded: api.IsUploaded
) -> FastAPI:
    """The routes for workers and for everybody, and the page."""
    logs, known = LogBook(config.data_dir / "logs.db"), pool.hub.domain.chain_id
    app = FastAPI(
        title="Tallystick scheduler", version=__version__, docs_url=None, redoc_url=None
    )
    told, chain = _introduction(config, pool)
    app.state.desk = api.Desk(
        pool=pool,
        config=told,
        chain=chain,
        challenges=Challenges(),
        tokens=Tokens(key_file(config.data_dir / "token.key"), pool=config.workerpool),
        logs=logs,
        history=lambda task: tell(journal.read(stream=str(task))),
        is_uploaded=is_uploaded,
    )
    app.state.window = public.Window(
        pool=pool,
        journal=journal,
        logs=logs,
        chain_id=known,
        lost_after=config.lost_after,
    )
    app.add_middleware(Limited, limits=Limits(body=_LARGEST_BODY))
    api.attach(app)
    public.attach(app)
    page.Page(pool, known, config.lost_after).attach(app)
    return app


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
