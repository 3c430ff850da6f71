"""What the pool does, on one page, and what each figure comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from tallystick.scheduler.dashboard.crowd import Crowd, Member
from tallystick.scheduler.dashboard.past import by_minute, speed, times_by_minute
from tallystick.scheduler.dashboard.place import HOME, Dashboard
from tallystick.scheduler.dashboard.samples import Sample
from tallystick.scheduler.dashboard.viewer import Viewer

_SHOWN = 8
"""Workers that the overview names."""
_GWEI = 10**9


def attach(app: FastAPI, dashboard: Dashboard) -> None:
    """Add the page, at the root too."""
    page = _Page(dashboard, Crowd(dashboard))
    for path in (HOME, "/"):
        app.add_route(path, page.answer, include_in_schema=False)


@dataclass(frozen=True, slots=True)
class _Page:
    place: Dashboard
    crowd: Crowd

    async def answer(self, request: Request) -> Response:
        return await self.place.show(request, "overview.html", self.values)

    async def values(self, viewer: Viewer) -> dict[str, Any]:
        place = self.place
        members, now = await self.crowd.members(), place.past.clock()
        await place.board.refresh()
        ends = place.past.lately()
        look, board = place.look(), place.board
        return {
            "look": look,
            "known": len(members),
            "lost": sum(member.state == "lost" for member in members),
            "shown": sorted(members, key=_interest)[:_SHOWN],
            "speed": speed(ends, now),
            "board": board,
            "statuses": [(s, n) for s, n in sorted(board.statuses.items()) if n],
            "deals": len(place.window.bags),
            "troubles": list(place.figures.vitals.troubles()),
            "money": self._money(),
            "charts": self._charts(now, look),
            "config": place.config,
            "owner": place.pool.wallet.address,
            "chain_id": place.window.chain_id,
            "hub": place.pool.hub.address,
            "head": place.figures.vitals.head(),
        }

    def _money(self) -> dict[str, Any]:
        """What the pool's owner has; nothing while that is not known."""
        place, watch = self.place, self.place.watch
        return {
            "purse": watch.purse if watch else None,
            "warnings": watch.warnings() if watch else [],
            "covers": watch.covers() if watch else [],
            "network": place.gas_price,
            "cap": place.config.gas_price_cap,
            "spent": place.figures.vitals.gas_spent(),
        }

    def _charts(
        self, now: float, look: Sample
    ) -> list[tuple[str, str, list[tuple[float, float]], str]]:
        """Of the last hour until `look`: each one's id, title, points and unit."""
        ring, ends = self.place.ring, self.place.past.lately()
        done = [(at, float(count)) for at, count in by_minute(ends, now)]
        return [
            ("done", "Tasks completed a minute", done, ""),
            ("took", "Time to result", times_by_minute(ends, now), " s"),
            (
                "alive",
                "Workers alive",
                [*ring.points(lambda each: each.alive), (look.at, look.alive)],
                "",
            ),
            (
                "busy",
                "Slots busy",
                [*ring.points(lambda each: each.busy), (look.at, look.busy)],
                "",
            ),
            ("gas", "Gas price of the network", ring.points(_gwei), " Gwei"),
        ]


def _gwei(look: Sample) -> float | None:
    return None if look.gas_price is None else look.gas_price / _GWEI


def _interest(member: Member) -> tuple[bool, int, float]:
    """Those at work first, then those heard last."""
    return member.state in ("lost", "blocked"), -member.busy, member.silence
