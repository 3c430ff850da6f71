"""The page of a directory, and the same as JSON."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tallystick.directory.board import Board, Entry
from tallystick.web.live import Stream
from tallystick.web.site import HEADERS, Place, Site
from tallystick.wire import serving

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI


async def serve(board: Board, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serve the directory until cancelled; `say` is told where. Raises PortTaken."""
    with serving.listen(host, port) as sock:
        place = sock.getsockname()
        at = f"[{place[0]}]" if ":" in place[0] else place[0]
        # It takes what FastAPI is made of just as well.
        app = cast("FastAPI", application(board))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(board.run)
            await tasks.start(partial(serving.serve, app, sock))
            say(f"A directory of {len(board.pools)} pools: http://{at}:{place[1]}/")


def application(board: Board) -> Starlette:
    """The directory's pages."""
    site = Site(
        name="Pools",
        package="tallystick.directory",
        places=(Place("As JSON", "/pools.json"),),
        live="/events",
    )
    stream = Stream(board.changes)

    async def page(request: Request) -> Response:
        return site.html(request, "pools.html", entries=board.entries, disputed=board.disputed)

    async def as_json(_: Request) -> Response:
        told = [_told(each, board) for each in board.entries]
        return JSONResponse({"pools": told}, headers={**HEADERS, "cache-control": "no-cache"})

    async def events(_: Request) -> Response:
        return stream.answer()

    app = Starlette()
    site.attach(app)
    app.add_route("/", page)
    app.add_route("/pools.json", as_json)
    app.add_route("/events", events)
    return app


def _told(entry: Entry, board: Board) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": entry.name,
        "schedulerUrl": entry.listed.url,
        "dashboard": f"{entry.listed.url}/",
        "knownAt": entry.at,
        "trouble": entry.trouble or None,
    }
    if (claims := entry.claims) is None:
        return told
    which = claims.chain_id, bytes(claims.workerpool)
    return {
        **told,
        "workerpool": str(claims.workerpool),
        "disputed": which in board.disputed,
        "chainId": claims.chain_id,
        "version": claims.version,
        "workers": claims.workers,
        "workersAlive": claims.workers_alive,
        "slots": claims.slots,
        "slotsBusy": claims.slots_busy,
        "deals": claims.deals,
        "tasksCompleted": claims.completed,
        "tasksFailed": claims.failed,
        "offers": [
            {"category": each.category, "priceNrlc": str(each.price), "trust": each.trust}
            for each in entry.offers
        ],
    }
