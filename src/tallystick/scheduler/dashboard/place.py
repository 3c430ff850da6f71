"""What the pages of a pool share: where they stand, and what they look at."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import anyio
from starlette.requests import Request
from starlette.responses import Response

from tallystick.scheduler.dashboard.kept import Kept
from tallystick.scheduler.dashboard.pace import Pace
from tallystick.scheduler.dashboard.past import Past
from tallystick.scheduler.dashboard.samples import EVERY, Ring, Sample
from tallystick.scheduler.dashboard.viewer import PUBLIC, Viewer
from tallystick.web.live import Stream
from tallystick.web.site import Place, Site

if TYPE_CHECKING:
    from tallystick.scheduler.admission import Admission
    from tallystick.scheduler.config import SchedulerConfig
    from tallystick.scheduler.dashboard.board import Board
    from tallystick.scheduler.dashboard.standings import Standings
    from tallystick.scheduler.figures import Figures
    from tallystick.scheduler.money_book import MoneyBook
    from tallystick.scheduler.money_watch import MoneyWatch
    from tallystick.scheduler.pool import Pool
    from tallystick.scheduler.window import Window

HOME: Final = "/dashboard"
EVENTS: Final = "/dashboard/events"
"""The stream that tells a page to look again; the page for people is `/dashboard/feed`."""
PLACES: Final = (
    Place("Overview", HOME),
    Place("Workers", "/dashboard/workers"),
    Place("Tasks", "/dashboard/tasks"),
    Place("Deals", "/dashboard/deals"),
    Place("Events", "/dashboard/feed"),
    Place("API docs", "/docs"),
)


class Missing(Exception):
    """There is no such thing here; the sentence says of what and where to look instead."""


def site_of(name: str, *, join: str = "") -> Site:
    """The site of the pool `name`; `join` is the path of the page for who wants to work here,
    empty where nobody may."""
    return Site(
        name=name,
        package="tallystick.scheduler.dashboard",
        places=PLACES,
        home=HOME,
        live=EVENTS,
        join=join,
    )


@dataclass(slots=True, kw_only=True)
class Dashboard:
    """Everything that the pages of one pool look at."""

    site: Site
    config: SchedulerConfig
    pool: Pool
    window: Window
    figures: Figures
    """Census (`figures.census`) and vitals (`figures.vitals`) too."""
    admission: Admission
    board: Board
    """What tasks and workers have come to; `await board.refresh()` before it is read."""
    standings: Standings
    """What workers have on the chain."""
    watch: MoneyWatch | None = None
    """What the owner has, and warnings; None until the office is open."""
    book: MoneyBook | None = None
    """What ended tasks have moved; None until the office is open."""
    viewer_of: Callable[[Request], Viewer] = lambda request: PUBLIC
    """Who looks: everybody is a stranger, until somebody says how to tell."""
    past: Past = field(default_factory=Past)
    """When tasks began and ended."""
    ring: Ring = field(default_factory=Ring)
    """How the pool was in the last hour."""
    kept: Kept = field(init=False)
    stream: Stream = field(init=False)

    def __post_init__(self) -> None:
        pace = Pace(self.pool.changes)
        self.kept, self.stream = Kept(pace), Stream(pace, every=1.0, at_once=200)
        self.pool.engine.listen(self.past.heard)

    def know(self, watch: MoneyWatch, book: MoneyBook) -> None:
        """The office is open: look at its books from now on."""
        self.watch, self.book = watch, book
        self.board.know(book)

    async def run(self) -> None:
        """Look how the pool is, every few seconds, until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.standings.run)
            await self._sample()

    async def _sample(self) -> None:
        while True:
            self.ring.add(self.look())
            await self.board.refresh()
            await anyio.sleep(EVERY)

    def look(self) -> Sample:
        """How the pool is now."""
        alive = self.pool.roster.alive(self.config.lost_after)
        models = (self.pool.roster.model(worker) for worker in alive)
        return Sample(
            at=time.time(),
            alive=len(alive),
            slots=sum(model.slots for model in models if model),
            busy=sum(self.pool.openings.busy(worker) for worker in alive),
            gas_price=self.gas_price,
        )

    @property
    def gas_price(self) -> int | None:
        """wei that the network asks for a unit of gas; None where it is free or not known."""
        return self.watch.purse.network if self.watch and self.watch.purse else None

    async def show(
        self,
        request: Request,
        template: str,
        values: Callable[[Viewer], Awaitable[dict[str, Any]]],
    ) -> Response:
        """A page, kept for viewers of this kind; `values` looks up what the template shows.
        Where it raises Missing, the page says so and is not kept."""
        viewer = self.viewer_of(request)

        async def make() -> str:
            found = await values(viewer)
            return self.site.text(request, template, viewer=viewer, **found)

        try:
            return await self.kept.answer(request, viewer, make)
        except Missing as problem:
            return self.site.html(
                request, "missing.html", status=404, viewer=viewer, sentence=str(problem)
            )
