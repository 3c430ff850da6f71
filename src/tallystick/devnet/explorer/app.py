"""The explorer as one application: what it knows, its routes, and what keeps it up to date."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response

from tallystick.chain.heads import Heads
from tallystick.chain.hub import Hub
from tallystick.chain.records import Registries
from tallystick.chain.rpc import Rpc
from tallystick.devnet.explorer import chain_pages, search, subject_pages
from tallystick.devnet.explorer.abis import Dictionary
from tallystick.devnet.explorer.explorer import Explorer, NotThere
from tallystick.devnet.explorer.index import Index
from tallystick.devnet.explorer.known import Known
from tallystick.engine.errors import Refused, Unavailable
from tallystick.poco.orders import Domain
from tallystick.web.live import Stream
from tallystick.wire import serving

if TYPE_CHECKING:
    from fastapi import FastAPI

log = logging.getLogger(__name__)

_OURS: Final = ("127.0.0.1", "localhost", "[::1]")
"""Names by which a browser may ask: any other comes from a page elsewhere that was given our
address (DNS rebinding)."""
_PAUSE: Final = 2.0
"""Seconds before a node that does not answer is asked again."""


@dataclass(frozen=True, slots=True)
class NewBlocks:
    """The chain's heads as changes of pages; followed only while somebody looks."""

    heads: Heads
    closed: bool = False

    @property
    def count(self) -> int:
        """How often there was news."""
        return self.heads.count

    async def next(self, count: int, patience: float = 15.0) -> int:
        """Wait for a block after the `count` that was seen."""
        return await self.heads.change(count, within=patience)


async def serve(known: Known, dictionary: Dictionary, sock: socket.socket) -> None:
    """Serve the explorer on `sock` until cancelled."""
    async with application(known, dictionary) as app:
        # It takes what FastAPI is made of just as well.
        await serving.serve(cast("FastAPI", app), sock)


@asynccontextmanager
async def application(known: Known, dictionary: Dictionary) -> AsyncIterator[Starlette]:
    """The explorer of the chain that `known` describes, kept up to date within the block."""
    async with Rpc([known.rpc_url]) as rpc, anyio.create_task_group() as tasks:
        explorer = Explorer(known, _hub(rpc, known), Index(rpc, dictionary))
        heads = Heads(rpc, known.ws_url)
        tasks.start_soon(heads.run)
        tasks.start_soon(_learn, explorer.index)
        yield _application(explorer, Stream(NewBlocks(heads)))
        tasks.cancel_scope.cancel()


async def _learn(index: Index) -> None:
    """Read the chain's past, whatever becomes of the node meanwhile."""
    while True:
        try:
            return await index.search_back()
        except Unavailable as trouble:
            log.info("The chain's past is not known yet: %s", trouble)
            await anyio.sleep(_PAUSE)


def _hub(rpc: Rpc, known: Known) -> Hub:
    at = known.contracts
    registries = Registries(
        at["app registry"], at["dataset registry"], at["workerpool registry"]
    )
    return Hub(rpc, Domain(known.chain_id, known.hub), at["RLC token"], registries)


def _application(explorer: Explorer, stream: Stream) -> Starlette:
    async def events(_: Request) -> Response:
        return stream.answer()

    app = Starlette(
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(_OURS))],
        exception_handlers=_troubles(explorer),
    )
    explorer.site.attach(app)
    app.add_route("/events", events)
    for pages in (chain_pages, subject_pages, search):
        for path, page in pages.PAGES.items():
            app.add_route(path, explorer.page(page))
    return app


def _troubles(explorer: Explorer) -> Mapping[Any, Any]:
    async def absent(request: Request, trouble: Exception) -> Response:
        told = str(trouble) if isinstance(trouble, Refused) else "There is no such page."
        return explorer.site.html(
            request, "trouble.html", status=404, title="Not found", told=told
        )

    async def later(request: Request, trouble: Exception) -> Response:
        return explorer.site.html(
            request, "trouble.html", status=503, title="The chain is away", told=str(trouble)
        )

    return {404: absent, NotThere: absent, Refused: absent, Unavailable: later}
