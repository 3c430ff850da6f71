"""The newest events, in words and with links."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from tallystick.engine.journal import Entry
from tallystick.lifecycle.facts import Fact
from tallystick.poco.values import Address
from tallystick.scheduler.dashboard.acts import Acts
from tallystick.scheduler.dashboard.happenings import Happening, happening
from tallystick.scheduler.dashboard.named import names_of
from tallystick.scheduler.dashboard.outside import Explorer
from tallystick.scheduler.dashboard.place import Dashboard
from tallystick.scheduler.dashboard.viewer import Viewer

FEED: Final = "/dashboard/feed"
_MOST: Final = 500
"""Facts that are remembered, and shown at most."""
_SHOWN: Final = 200
_TASKS: Final = 50
"""Tasks whose story is read for what happened before this process began."""


@dataclass(slots=True)
class Feed:
    """What happened lately."""

    dashboard: Dashboard
    _heard: deque[Entry[Fact]] = field(default_factory=lambda: deque(maxlen=_MOST))
    _old: list[Entry[Fact]] | None = None

    def hear(self, entry: Entry[Fact]) -> None:
        """A fact was recorded."""
        self._heard.append(entry)

    def newest(self) -> list[Happening]:
        """The newest first. A reorg may have taken a fact back that is told here."""
        told = list(self._heard)
        if len(told) < _SHOWN:
            known = {entry.seq for entry in told}
            told += [entry for entry in self._before() if entry.seq not in known]
        told.sort(key=lambda entry: (entry.at, entry.seq), reverse=True)
        return [happening(entry) for entry in told[:_SHOWN]]

    def _before(self) -> list[Entry[Fact]]:
        """What the newest tasks of earlier lives tell; read once."""
        if self._old is None:
            states, journal = self.dashboard.pool.engine.states, self.dashboard.window.journal
            streams = list(islice(reversed(list(states)), _TASKS))
            self._old = [each for name in streams for each in journal.read(stream=name)]
        return self._old


def attach(app: FastAPI, dashboard: Dashboard) -> None:
    """Add the page."""
    feed, acts = Feed(dashboard), Acts(dashboard.window.journal)
    dashboard.pool.engine.listen(feed.hear)
    explorer = Explorer(dashboard.config.explorer_url)

    async def values(viewer: Viewer) -> dict[str, Any]:
        rows: list[Any] = [(each.at, "fact", each) for each in feed.newest()]
        rows += [(each.at, "act", each) for each in acts.newest()]
        rows.sort(key=lambda row: -row[0])
        shown = rows[:_SHOWN]
        workers = {Address(each.worker) for _, _, each in shown if each.worker}
        names = names_of(dashboard.pool.roster, workers)
        return {"rows": shown, "names": names, "explorer": explorer}

    async def page(request: Request) -> Response:
        return await dashboard.show(request, "feed.html", values)

    app.add_route(FEED, page, include_in_schema=False)
