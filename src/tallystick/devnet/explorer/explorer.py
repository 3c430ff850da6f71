"""What every page of the explorer is made with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from tallystick.chain.hub import Hub
from tallystick.chain.rpc import Rpc
from tallystick.devnet.explorer.index import Index
from tallystick.devnet.explorer.known import Known
from tallystick.engine.errors import Refused
from tallystick.web.site import Place, Site

PLACES = (
    Place("Blocks", "/blocks"),
    Place("Transactions", "/transactions"),
    Place("Deals", "/deals"),
    Place("Tasks", "/tasks"),
    Place("Accounts", "/accounts"),
)
ROWS = 25
"""Rows of a page."""


class NotThere(Refused):
    """The chain holds nothing of this name, number or hash."""


@dataclass(frozen=True, slots=True)
class Explorer:
    """One chain, and what is known of it."""

    known: Known
    hub: Hub
    index: Index
    site: Site = field(init=False)

    def __post_init__(self) -> None:
        site = Site(
            name=f"Chain {self.known.chain_id}",
            package="tallystick.devnet.explorer",
            places=PLACES,
            live="/events",
        )
        object.__setattr__(self, "site", site)

    @property
    def rpc(self) -> Rpc:
        """The node."""
        return self.hub.rpc

    def page(self, make: Page) -> Callable[[Request], Awaitable[Response]]:
        """`make` as a route: the newest block is known before."""

        async def answer(request: Request) -> Response:
            await self.index.refresh()
            return await make(self, request)

        return answer

    def show(self, request: Request, template: str, **values: Any) -> Response:
        """A page with what all of them show."""
        return self.site.html(
            request,
            template,
            known=self.known,
            head=self.index.head,
            floor=self.index.floor,
            **values,
        )


Page: TypeAlias = Callable[[Explorer, Request], Awaitable[Response]]


def number(request: Request, name: str) -> int | None:
    """The number in a query; None when there is none, or when it is no number of a block."""
    text = request.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
