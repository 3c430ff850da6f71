"""The result store as a program: builds the parts and hands them to each other."""

from __future__ import annotations

import errno
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import anyio
from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse

from tallystick import __version__
from tallystick.chain.hub import Hub
from tallystick.chain.rpc import Rpc
from tallystick.engine.errors import Unavailable
from tallystick.engine.settings import load
from tallystick.results import api
from tallystick.results.config import ResultsConfig
from tallystick.results.denial import Denied
from tallystick.results.judge import Judge
from tallystick.results.retention import keep_tidy
from tallystick.results.store import Store
from tallystick.results.tokens import Tokens
from tallystick.wire import serving
from tallystick.wire.auth import key_file
from tallystick.wire.proxies import Forwarded, networks
from tallystick.wire.rates import Allowance, RateLimited
from tallystick.wire.stopping import until_stopped
from tallystick.wire.tls import Certificate

_BURST: Final = 4
"""Seconds of an allowance that may be used at once."""
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


def create_app(config: ResultsConfig, hub: Hub) -> FastAPI:
    """The HTTP service on the data directory of `config`, which is made when it is missing."""
    return _app(config, hub, Store(config.data_dir))


def _app(config: ResultsConfig, hub: Hub, store: Store) -> FastAPI:
    app = FastAPI(
        title="Tallystick result store", version=__version__, docs_url=None, redoc_url=None
    )
    tokens = Tokens(key_file(config.data_dir / "token.key"), config.url)
    app.state.desk = api.Desk(config, store, Judge(hub, config), tokens)
    app.include_router(api.routes)
    app.add_exception_handler(Denied, _denied)
    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(OSError, _disk)
    _guard(app, config)
    return app


def _guard(app: FastAPI, config: ResultsConfig) -> None:
    """The last one is asked first. Bodies are weighed by the routes: results are large."""
    rate = config.requests_per_address
    app.add_middleware(RateLimited, allowance=Allowance(rate, round(rate * _BURST)))
    app.add_middleware(Forwarded, trusted=networks(config.trusted_proxies))


async def _denied(_request: Request, refusal: Exception) -> Response:
    status = refusal.status if isinstance(refusal, Denied) else 500
    return PlainTextResponse(str(refusal), status)


async def _unavailable(_request: Request, trouble: Exception) -> Response:
    return PlainTextResponse(f"The chain cannot be asked now: {trouble}", 503)


async def _disk(_request: Request, trouble: Exception) -> Response:
    """A full disk is said to the worker, which tries again; anything else is a bug."""
    if isinstance(trouble, OSError) and trouble.errno in _FULL:
        return PlainTextResponse("The disk of the result store is full.", 507)
    raise trouble


async def serve(config_path: Path) -> None:
    """Run the store that the TOML file describes until the process is told to stop.

    Raises `BadSettings`, `BadCertificate`, `PortTaken`, and `Unavailable` when no node answers
    at the start.
    """
    config = load(config_path, ResultsConfig)
    certificate = Certificate.named(config.tls_cert, config.tls_key)
    guarded = certificate is not None or bool(config.trusted_proxies)
    sock = serving.listen(config.host, config.port, guarded=guarded)
    config = replace(config, port=sock.getsockname()[1])
    store = Store(config.data_dir)
    try:
        async with Rpc(config.rpc_urls) as rpc, anyio.create_task_group() as tasks:
            hub = await Hub.open(rpc, config.hub)
            tasks.start_soon(keep_tidy, store, config, hub)
            serve_http = partial(serving.serve, certificate=certificate)
            await tasks.start(serve_http, _app(config, hub, store), sock)
            await until_stopped()
            tasks.cancel_scope.cancel()
    finally:
        store.close()
        sock.close()
