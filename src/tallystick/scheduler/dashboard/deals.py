"""The pages of deals: all of them, and one of them with its tasks and its money."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from tallystick.lifecycle.stages import task_status
from tallystick.poco import tags
from tallystick.poco.params import parse_params
from tallystick.poco.values import ZERO_ADDRESS, DealId
from tallystick.scheduler.dashboard.bags import Bags
from tallystick.scheduler.dashboard.outside import Explorer, stranger
from tallystick.scheduler.dashboard.place import Dashboard, Missing
from tallystick.scheduler.dashboard.viewer import Viewer

DEALS: Final = "/dashboard/deals"
_PAGE: Final = 50
_TASKS: Final = 100
"""Tasks that the page of a deal lists; the others are on the page of tasks."""


@dataclass(frozen=True, slots=True)
class _Pages:
    """Both pages."""

    dashboard: Dashboard
    bags: Bags
    explorer: Explorer

    async def every(self, request: Request) -> Response:
        """All deals, the newest first."""
        after = request.query_params.get("after", "")

        async def values(viewer: Viewer) -> dict[str, Any]:
            known = iter([str(deal) for deal in self.dashboard.window.deals()])
            if after and after not in known:  # leaves those behind it
                raise Missing(
                    "That page of deals is not there any more: begin with the newest."
                )
            found = list(islice(known, _PAGE + 1))
            bags = [self.bags.of(DealId(deal)) for deal in found[:_PAGE]]
            more = found[_PAGE - 1] if len(found) > _PAGE else ""
            return {"bags": bags, "after": after, "more": more}

        return await self.dashboard.show(request, "deals.html", values)

    async def one(self, request: Request) -> Response:
        """One deal."""

        async def values(viewer: Viewer) -> dict[str, Any]:
            id = _deal_id(request)
            if id not in self.dashboard.window.bags:
                raise Missing(f"{id} is no deal with this pool.")
            bag = self.bags.of(id)
            params = parse_params(bag.deal.params)
            proxy = params.storage_proxy
            return {
                "bag": bag,
                "deal": bag.deal,
                "tasks": bag.tasks[:_TASKS],
                "status_of": task_status,
                "params": params,
                "inputs": [stranger(link) for link in params.input_files],
                "proxy": stranger(proxy) if proxy else None,
                "tags": tags.names(bag.deal.tag),
                "nobody": ZERO_ADDRESS,
                "rate": self.dashboard.config.eth_per_rlc,
                "explorer": self.explorer,
            }

        return await self.dashboard.show(request, "deal.html", values)


def _deal_id(request: Request) -> DealId:
    try:
        return DealId(request.path_params["deal"].lower())
    except ValueError as problem:
        raise Missing("A deal is named by 0x and 64 hex digits.") from problem


def attach(app: FastAPI, dashboard: Dashboard) -> None:
    """Add both pages."""
    explorer = Explorer(dashboard.config.explorer_url)
    pages = _Pages(dashboard, Bags(dashboard), explorer)
    app.add_route(DEALS, pages.every, include_in_schema=False)
    app.add_route(f"{DEALS}/{{deal}}", pages.one, include_in_schema=False)
