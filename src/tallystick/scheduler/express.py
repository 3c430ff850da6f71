"""What every worker asks all the time, answered without what other routes need.

A route with typed parameters costs several times what a sign of life does. These requests come
in one form from workers of ours, and their answers are those of the same functions; in any
other form they go the way of all others, which says what is wrong with them.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from fastapi import Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tallystick.wire.scheduler import INSTANCE

if TYPE_CHECKING:
    from tallystick.scheduler.desk import Desk

Answer = Callable[..., Awaitable[Response]]
"""Of a route: the function, called with its parameters."""

_WAIT: Final = rb"wait=(?P<wait>\d{1,5}(?:\.\d{1,5})?)"
_NUMBER: Final = rb"\d{1,18}"
_FORMS: Final[Mapping[str, tuple[str, re.Pattern[bytes]]]] = {
    "/workers/ping": ("POST", re.compile(rb"")),
    "/replicates/available": (
        "GET",
        re.compile(rb"blockNumber=(?P<blockNumber>" + _NUMBER + rb")(?:&" + _WAIT + rb")?"),
    ),
    "/replicates/facts": (
        "GET",
        re.compile(rb"after=(?P<after>" + _NUMBER + rb")&of=(?P<of>[0-9a-f]{0,40})&" + _WAIT),
    ),
}
"""Verb and query of the usual form."""
_TYPES: Final[Mapping[str, Callable[[bytes], Any]]] = {
    "blockNumber": int,
    "after": int,
    "wait": float,
    "of": bytes.decode,
}


class Express:
    """ASGI middleware, the innermost one: it answers what is in the usual form."""

    def __init__(self, app: ASGIApp, *, ping: Answer, available: Answer, facts: Answer) -> None:
        """Each of them is called with `desk` and `worker`, and the last two with `request`."""
        self._app = app
        self._answers: Mapping[str, Answer] = {
            "/workers/ping": lambda request, **asked: ping(**asked),
            "/replicates/available": available,
            "/replicates/facts": facts,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        asked = None if scope["type"] != "http" or scope.get("root_path") else _asked(scope)
        if asked is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            desk: Desk = request.app.state.desk
            worker = desk.caller(*_speaker(scope))
            answer = await self._answers[scope["path"]](
                request, desk=desk, worker=worker, **asked
            )
        except _known(request) as problem:
            answer = await _refused(request, problem)
        await answer(scope, receive, send)


def _asked(scope: Scope) -> dict[str, Any] | None:
    """The parameters of a request in the usual form; None for any other."""
    verb, form = _FORMS.get(scope["path"], ("", None))
    if form is None or verb != scope["method"]:
        return None
    usual = form.fullmatch(scope["query_string"])
    if usual is None:
        return None
    return {name: _TYPES[name](text) for name, text in usual.groupdict().items() if text}


def _speaker(scope: Scope) -> tuple[str, str]:
    """The headers that say who speaks."""
    found = {b"authorization": "", INSTANCE.encode(): ""}
    for name, value in scope["headers"]:
        if name in found and not found[name]:
            found[name] = value.decode("latin-1")
    token, instance = found.values()
    return token, instance


def _known(request: Request) -> tuple[type[Exception], ...]:
    """What the application has an answer to; anything else is a bug, and not for us."""
    kinds = (kind for kind in request.app.exception_handlers if isinstance(kind, type))
    return tuple(kind for kind in kinds if kind is not Exception)


async def _refused(request: Request, problem: Exception) -> Response:
    """As the routes of the application refuse it."""
    handlers = request.app.exception_handlers
    kind = next(kind for kind in type(problem).__mro__ if kind in handlers)
    answer: Response = await handlers[kind](request, problem)
    return answer
