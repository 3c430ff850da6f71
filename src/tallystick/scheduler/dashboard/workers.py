"""Who computes for the pool: a list to search and sort, and why each has no more work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from tallystick.scheduler.dashboard.crowd import PAGE, SORTS, STATES, Crowd, Member, Wish
from tallystick.scheduler.dashboard.idle import Idle, Reasons
from tallystick.scheduler.dashboard.place import Dashboard
from tallystick.scheduler.dashboard.viewer import Viewer
from tallystick.scheduler.dashboard.worker import reasons, version_of, work_of

WORKERS = "/dashboard/workers"


def attach(app: FastAPI, dashboard: Dashboard) -> None:
    """Add the page."""
    page = _Page(dashboard, Crowd(dashboard))
    app.add_route(WORKERS, page.answer, include_in_schema=False)


@dataclass(frozen=True, slots=True)
class _Row:
    """One worker as the list shows it."""

    member: Member
    version: str
    idle: Idle
    work: list[str]
    """Tasks that it holds."""
    heard: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class _Page:
    place: Dashboard
    crowd: Crowd

    async def answer(self, request: Request) -> Response:
        async def values(viewer: Viewer) -> dict[str, Any]:
            return await self.values(request.query_params)

        return await self.place.show(request, "workers.html", values)

    async def values(self, query: QueryParams) -> dict[str, Any]:
        wish, members = Wish.of(query), await self.crowd.members()
        chosen = wish.ordered(members)
        pages = max(1, -(-len(chosen) // PAGE))
        wish = wish.at(min(wish.page, pages))
        shown = chosen[(wish.page - 1) * PAGE : wish.page * PAGE]
        await self.place.standings.look(member.address for member in shown)
        judge = reasons(self.place)
        return {
            "wish": wish,
            "rows": [self._row(member, judge) for member in shown],
            "found": len(chosen),
            "known": len(members),
            "pages": pages,
            "sorts": SORTS,
            "states": STATES,
        }

    def _row(self, member: Member, judge: Reasons) -> _Row:
        pool = self.place.pool
        member = self.crowd.member(member.address, member.model, member.silence)
        return _Row(
            member,
            version_of(pool.roster.program(member.address)),
            judge.why(member.address, member.model, member.silence, member.standing),
            work_of(pool, member.address),
            self.place.past.clock() - member.silence,
        )
