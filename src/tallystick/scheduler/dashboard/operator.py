"""What an operator may do at the pool's pages: block a worker and take that back, drain."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from tallystick.engine.errors import Refused, Unavailable
from tallystick.poco.values import Address
from tallystick.scheduler.dashboard.acts import Acts
from tallystick.scheduler.dashboard.forms import BadForm, NotSignedIn, operators_fields
from tallystick.scheduler.dashboard.login import OPERATOR, sessions_of
from tallystick.scheduler.dashboard.place import Dashboard
from tallystick.scheduler.dashboard.sessions import Sessions
from tallystick.scheduler.dashboard.viewer import Viewer
from tallystick.web.site import HEADERS

_LONGEST: Final = 500
"""Letters of a reason, as on the command line."""
_NOT_KEPT: Final = {"cache-control": "no-store"}
_COURSES: Final[Mapping[str, tuple[Mapping[str, bool], str]]] = {
    "drain": ({}, "drains the pool: nothing more is sold, and it ends when all is done"),
    "go on": ({"off": True}, "lets the pool go on"),
}
"""What a button says, what the office is told, and what is noted."""


class Hands(Protocol):
    """Does what `tally pool` does; `scheduler.admin.Office` is one."""

    async def block(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Give a wallet no more work."""
        ...

    async def unblock(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Give it work again."""
        ...

    async def drain(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Sell nothing more, or take that back."""
        ...

    async def status(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """How the pool is doing."""
        ...


@dataclass(slots=True)
class _Desk:
    """The operator's page and its buttons."""

    app: FastAPI
    dashboard: Dashboard
    sessions: Sessions
    acts: Acts

    async def look(self, request: Request) -> Response:
        """The page; strangers are told how to sign in."""
        return await self._page(request, self.sessions.viewer(request))

    async def block(self, request: Request) -> Response:
        """A worker gets no more work."""

        async def act(viewer: Viewer, filled: Mapping[str, str]) -> None:
            wallet, why = _wallet(filled), filled.get("why", "").strip()[:_LONGEST]
            await self._hands().block({"wallet": str(wallet), "why": why})
            self.acts.note(by=viewer.wallet, what="blocked", worker=str(wallet), why=why)

        return await self._do(request, act)

    async def unblock(self, request: Request) -> Response:
        """It gets work again."""

        async def act(viewer: Viewer, filled: Mapping[str, str]) -> None:
            wallet = _wallet(filled)
            await self._hands().unblock({"wallet": str(wallet)})
            self.acts.note(by=viewer.wallet, what="unblocked", worker=str(wallet))

        return await self._do(request, act)

    async def course(self, request: Request) -> Response:
        """The pool drains, or goes on."""

        async def act(viewer: Viewer, filled: Mapping[str, str]) -> None:
            if (word := filled.get("course", "")) not in _COURSES:
                raise BadForm("The pool drains, or it goes on.")
            if word == "drain" and filled.get("sure") != "yes":
                raise BadForm("Tick the box if the pool is to drain: nothing was done.")
            told, words = _COURSES[word]
            await self._hands().drain(dict(told))
            self.acts.note(by=viewer.wallet, what=words)

        return await self._do(request, act)

    async def _do(
        self, request: Request, act: Callable[[Viewer, Mapping[str, str]], Awaitable[None]]
    ) -> Response:
        """Do it for an operator whose own page asked; then show how things are."""
        viewer = self.sessions.viewer(request)
        try:
            viewer, filled = await operators_fields(request, self.sessions)
            await act(viewer, filled)
        except (NotSignedIn, BadForm) as problem:
            return await self._page(request, viewer, 403, str(problem))
        except Refused as problem:
            return await self._page(request, viewer, 400, str(problem))
        except Unavailable:
            sentence = "The pool's books cannot be written now: look whether it was done."
            return await self._page(request, viewer, 503, sentence)
        self.dashboard.pool.changes.beat()
        where = f"{request.scope.get('root_path', '')}{OPERATOR}"
        return RedirectResponse(where, 303, headers={**HEADERS, **_NOT_KEPT})

    def _hands(self) -> Hands:
        found: Hands | None = getattr(self.app.state, "office", None)
        if found is None:
            raise BadForm("The pool is only starting: try again in a moment.")
        return found

    async def _page(
        self, request: Request, viewer: Viewer, status: int = 200, sentence: str = ""
    ) -> Response:
        values: dict[str, Any] = {"viewer": viewer, "sentence": sentence, "now": None}
        if viewer.operator:
            values |= await self._known()
        elif status == 200:
            status = 401
        return self.dashboard.site.html(
            request, "operator.html", status=status, headers=_NOT_KEPT, **values
        )

    async def _known(self) -> dict[str, Any]:
        office: Hands | None = getattr(self.app.state, "office", None)
        roster = self.dashboard.pool.roster
        blocked = self.dashboard.admission.blocked()
        return {
            "now": await office.status({}) if office else None,
            "blocked": blocked,
            "workers": [
                (str(worker), model.name)
                for worker, model, _ in roster
                if not self.dashboard.admission.is_blocked(worker)
            ],
            "acts": self.acts.newest()[:30],
        }


def _wallet(filled: Mapping[str, str]) -> Address:
    try:
        return Address(filled.get("worker", "").strip().lower())
    except ValueError as problem:
        raise BadForm("A worker is named by its address: 0x and 40 hex digits.") from problem


def attach(app: FastAPI, dashboard: Dashboard) -> None:
    """Add the page and its buttons."""
    desk = _Desk(app, dashboard, sessions_of(app), Acts(dashboard.window.journal))
    for path, verb, handler in (
        (OPERATOR, "GET", desk.look),
        (f"{OPERATOR}/block", "POST", desk.block),
        (f"{OPERATOR}/unblock", "POST", desk.unblock),
        (f"{OPERATOR}/course", "POST", desk.course),
    ):
        app.add_route(path, handler, methods=[verb], include_in_schema=False)
