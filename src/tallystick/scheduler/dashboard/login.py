"""Signing in by a one-time link, and signing out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from tallystick.engine.errors import Unavailable
from tallystick.poco.values import Address
from tallystick.scheduler.dashboard.forms import BadForm, NotSignedIn, fields, signed_fields
from tallystick.scheduler.dashboard.place import HOME, Dashboard
from tallystick.scheduler.dashboard.sessions import LINK_LIFE, BadLink, Sessions
from tallystick.scheduler.desk import Desk
from tallystick.web.site import HEADERS
from tallystick.wire.entrance import LINKS, LOGIN
from tallystick.wire.rates import Allowance, TooOften
from tallystick.wire.refusals import refusal

LOGOUT: Final = "/dashboard/logout"
WALLET: Final = "/dashboard/login/wallet"
OPERATOR: Final = "/dashboard/operator"
_RATE, _BURST = 0.2, 10
"""Tries of one address: every five seconds, and so many at once."""
_NOT_KEPT: Final = {"cache-control": "no-store"}
_UNSIGNED: Final = "That is not the wallet's signature of the pool's challenge: try again."
_BOOKS: Final = "The pool's books cannot be written now: try again in a moment."


@dataclass(slots=True)
class _Door:
    """Who comes in."""

    dashboard: Dashboard
    sessions: Sessions
    desk: Desk
    allowance: Allowance = field(default_factory=lambda: Allowance(_RATE, _BURST))

    async def link(self, request: Request) -> Response:
        """A link for the owner's own token, as `tally pool login` asks for it."""
        self._count(request)
        caller = self.desk.bearer(request.headers.get("authorization", ""))
        if caller != self.sessions.owner:
            return refusal(403, f"{caller} does not own this pool.", request.url.path)
        told = {"path": f"{LOGIN}?code={self.sessions.link(caller)}", "goodFor": LINK_LIFE}
        return JSONResponse(told, 201, headers={**HEADERS, **_NOT_KEPT})

    async def ask(self, request: Request) -> Response:
        """The page that the link leads to. It changes nothing: programs that show where a
        link leads open it too."""
        code, sentence = request.query_params.get("code", ""), ""
        if code:
            try:
                self.sessions.require_good(code)
            except BadLink as problem:
                code, sentence = "", str(problem)
        return self._page(request, 410 if sentence else 200, code=code, sentence=sentence)

    async def enter(self, request: Request) -> Response:
        """The button of that page: from now on this browser is the operator's."""
        self._count(request)
        answer = _onward(request, OPERATOR)
        try:
            self.sessions.open((await fields(request)).get("code", ""), request, answer)
        except (BadLink, BadForm) as problem:
            return self._page(request, 403, sentence=str(problem))
        except Unavailable:
            return self._page(request, 503, sentence=_BOOKS)
        return answer

    async def show_wallet(self, request: Request) -> Response:
        """A requester has signed the challenge for logs with the wallet in its browser."""
        self._count(request)
        try:
            told = await fields(request)
            wallet = Address(told.get("address", "").lower())
            signature = bytes.fromhex(told.get("signature", "").removeprefix("0x"))
        except BadForm as problem:
            return self._page(request, 403, sentence=str(problem))
        except ValueError:
            return self._page(request, 403, sentence=_UNSIGNED)
        if not self.dashboard.window.has_signed(wallet, signature):
            return self._page(request, 403, sentence=_UNSIGNED)
        answer = _onward(request, f"/dashboard/tasks?requester={wallet}")
        self.sessions.let_read(wallet, request, answer)
        return answer

    async def leave(self, request: Request) -> Response:
        """Sign out, here and wherever else the cookie got to."""
        answer = _onward(request, HOME)
        try:
            await signed_fields(request, self.sessions)
            self.sessions.end(request, answer)
        except (NotSignedIn, BadForm) as problem:
            return self._page(request, 403, sentence=str(problem))
        except Unavailable:
            return self._page(request, 503, sentence=_BOOKS)
        return answer

    def _count(self, request: Request) -> None:
        who = request.client.host if request.client else ""
        if wait := self.allowance.take(who):
            raise TooOften(f"The address {who}", wait)

    def _page(self, request: Request, status: int, **values: Any) -> Response:
        shown = {"code": "", "sentence": "", "life": LINK_LIFE, **values}
        viewer = self.sessions.viewer(request)
        return self.dashboard.site.html(
            request, "login.html", status=status, headers=_NOT_KEPT, viewer=viewer, **shown
        )


def _onward(request: Request, path: str) -> Response:
    """To a page of ours."""
    where = f"{request.scope.get('root_path', '')}{path}"
    return RedirectResponse(where, 303, headers={**HEADERS, **_NOT_KEPT})


def sessions_of(app: FastAPI) -> Sessions:
    """The door of this pool's pages, made at the first call."""
    found: Sessions | None = getattr(app.state, "sessions", None)
    if found is None:
        desk, window = app.state.desk, app.state.window
        owner: Address = desk.pool.wallet.address
        found = app.state.sessions = Sessions(
            key=desk.tokens.derived("sessions of the dashboard"),
            pool=window.workerpool,
            owner=owner,
            journal=window.journal,
        )
    return found


def attach(app: FastAPI, dashboard: Dashboard) -> None:
    """Add the pages, and let all pages know who looks."""
    sessions = sessions_of(app)
    dashboard.viewer_of = sessions.viewer
    door = _Door(dashboard, sessions, app.state.desk)
    for path, verb, handler in (
        (LINKS, "POST", door.link),
        (LOGIN, "GET", door.ask),
        (LOGIN, "POST", door.enter),
        (WALLET, "POST", door.show_wallet),
        (LOGOUT, "POST", door.leave),
    ):
        app.add_route(path, handler, methods=[verb], include_in_schema=False)
