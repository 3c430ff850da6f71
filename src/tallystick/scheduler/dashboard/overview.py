"""What the pool does, on one page."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from tallystick.scheduler.dashboard.place import HOME, Dashboard
from tallystick.scheduler.dashboard.viewer import Viewer


def attach(app: FastAPI, dashboard: Dashboard) -> None:
    """Add the page, at the root too."""

    async def overview(request: Request) -> Response:
        return await dashboard.show(request, "overview.html", values)

    async def values(viewer: Viewer) -> dict[str, Any]:
        count = await dashboard.figures.census.take()
        workers = [(str(worker), model.name) for worker, model, _ in dashboard.pool.roster]
        return {"count": count, "workers": workers[:8]}

    for path in (HOME, "/"):
        app.add_route(path, overview, include_in_schema=False)
