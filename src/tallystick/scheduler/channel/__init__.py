"""The notification channel of the v9 peers: STOMP over SockJS at `/connect`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Mount

from tallystick.scheduler.channel.bodies import TaskBooks
from tallystick.scheduler.channel.switch import Switch
from tallystick.scheduler.channel.transports import Transports

if TYPE_CHECKING:
    from fastapi import FastAPI

    from tallystick.engine.journal import Journal
    from tallystick.lifecycle.facts import Fact
    from tallystick.scheduler.pool import Pool

__all__ = ["Switch", "TaskBooks", "open_channel"]


def open_channel(
    app: FastAPI, pool: Pool, journal: Journal[Fact], *, websocket: bool = False
) -> Switch:
    """Add the channel to `app`. `websocket`: whether that transport is announced and taken."""
    books = TaskBooks(pool, journal)
    switch = Switch(books)
    pool.engine.watch(switch.changed)
    app.state.channel, app.state.books = switch, books
    app.router.routes.append(Mount("/connect", app=Transports(switch, websocket=websocket)))
    return switch
