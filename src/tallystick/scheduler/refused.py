"""What becomes of a request that cannot be answered: JSON that says what to do next."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from tallystick.engine.errors import Unavailable
from tallystick.scheduler.admission import NotAdmitted
from tallystick.scheduler.denials import NoSuch, NoToken, NotYours, OddCursor
from tallystick.scheduler.roster import WalletTaken
from tallystick.wire.auth import Unauthorized
from tallystick.wire.rates import TooOften
from tallystick.wire.refusals import refusal

log = logging.getLogger(__name__)

_MOST_MISTAKES = 5
_BUG = (
    "The scheduler met a mistake of its own, which its log tells to its operator. Ask again;"
    " if it stays so, tell the operator."
)
_AWAY = "The chain, or a store, does not answer the scheduler now: ask again in a moment."


def attach(app: FastAPI) -> None:
    """Add the answers to every way in which a request can fail to `app`."""
    for kind, status in _STATUSES.items():
        app.add_exception_handler(kind, _sayer(status))
    app.add_exception_handler(RequestValidationError, _bad_request)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(TooOften, _too_often)
    app.add_exception_handler(Unavailable, _not_ready)
    app.add_exception_handler(Exception, _bug)


_STATUSES: dict[type[Exception], int] = {
    Unauthorized: 401,
    NotYours: 403,
    NotAdmitted: 403,
    NoSuch: 404,
    OddCursor: 400,
    NoToken: 400,
    WalletTaken: 409,
}


def _sayer(status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def say(request: Request, problem: Exception) -> Response:
        return refusal(status, str(problem), request.url.path)

    return say


async def _bad_request(request: Request, problem: Exception) -> Response:
    """Names each mistake and its place; what was sent is not repeated."""
    assert isinstance(problem, RequestValidationError)
    told = [
        f"{'.'.join(map(str, each['loc']))}: {each['msg']}"
        for each in problem.errors()[:_MOST_MISTAKES]
    ]
    said = f"Not understood: {'; '.join(told)}. GET /docs tells what is taken."
    return refusal(400, said, request.url.path)


async def _http(request: Request, problem: Exception) -> Response:
    """What the router refuses: an unknown path, a verb that a path does not have."""
    assert isinstance(problem, HTTPException)
    said = {
        404: f"There is no {request.url.path} here. GET /docs lists every path.",
        405: f"{request.url.path} is not asked by {request.method}. GET /docs lists the verbs.",
    }.get(problem.status_code, str(problem.detail))
    headers = dict(problem.headers or {})
    return refusal(problem.status_code, said, request.url.path, headers=headers)


async def _too_often(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, TooOften)
    headers = {"retry-after": str(problem.wait)}
    return refusal(429, str(problem), request.url.path, headers=headers)


async def _not_ready(request: Request, problem: Exception) -> Response:
    """A node or a store did not answer a question that the request led to. Which one is for
    the log: its address may hold a key."""
    log.warning("%s cannot be answered: %s", request.url.path, problem)
    return refusal(503, _AWAY, request.url.path, headers={"retry-after": "1"})


async def _bug(request: Request, problem: Exception) -> Response:
    """Whatever it was goes to the log, and nothing of it to the caller."""
    return refusal(500, _BUG, request.url.path)
