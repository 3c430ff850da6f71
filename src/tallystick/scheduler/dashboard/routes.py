"""Where each page is found."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from tallystick.scheduler.dashboard.place import EVENTS, Dashboard

PARTS: Final = (
    *("login", "operator", "overview", "workers", "worker"),
    *("tasks", "deals", "feed", "manual"),
)
"""Modules of this package; each one's `attach` adds its pages. New ones go here."""


def attach(app: FastAPI, dashboard: Dashboard) -> None:
    """Add the pages of a pool to its routes, with static files and event stream."""

    async def events(request: Request) -> Response:
        return dashboard.stream.answer()

    dashboard.site.attach(app)
    app.add_route(EVENTS, events, include_in_schema=False)
    for name in PARTS:
        import_module(f"{__package__}.{name}").attach(app, dashboard)
