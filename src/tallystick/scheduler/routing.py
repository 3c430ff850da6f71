"""How a route tells of itself in the OpenAPI document: what it answers, and to whom."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from fastapi import FastAPI, Response

from tallystick.wire.refusals import Problem

WORKER: Final = "worker"
"""By the token that `POST /workers/login` gave."""
REQUESTER: Final = "requester"
"""By the signature of a challenge."""
TEXT: Final = "text/plain"
NOTHING: Final = None
"""A status without a body."""

Body = type[Any] | Literal["text/plain", "text/html"] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route as a reader sees it."""

    verb: Literal["GET", "POST"]
    path: str
    answers: Mapping[int, Body]
    """What is in an answer, by its status."""
    tag: str
    refuses: tuple[int, ...] = ()
    """Statuses with a Problem, beyond those that every route may answer with."""
    who: str = ""
    """WORKER, REQUESTER, or empty: everybody."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Of the good answer, with what each means."""

    def add(self, app: FastAPI, handler: Callable[..., Any]) -> None:
        """Have `handler` answer it; its docstring says what it does."""
        said = " ".join((handler.__doc__ or "").split())
        (good,) = [status for status in self.answers if status < 300][:1] or [200]
        app.add_api_route(
            self.path,
            handler,
            methods=[self.verb],
            status_code=good,
            response_model=None,
            summary=said.partition(". ")[0].rstrip("."),
            description=said,
            operation_id=handler.__name__.lstrip("_"),
            tags=[self.tag],
            responses={**self._answers(), **self._refusals()},
            openapi_extra={"security": [{self.who: []}]} if self.who else None,
        )

    def _answers(self) -> dict[int | str, dict[str, Any]]:
        return {status: self._answer(status, body) for status, body in self.answers.items()}

    def _answer(self, status: int, body: Body) -> dict[str, Any]:
        told: dict[str, Any] = {"description": _WORDS.get(status, "The answer")}
        if self.headers and status == min(self.answers):
            told["headers"] = {
                name: {"description": meaning, "schema": {"type": "string"}}
                for name, meaning in self.headers.items()
            }
        if isinstance(body, str):
            told["content"] = {body: {"schema": {"type": "string"}}}
        elif body is not None:
            told["model"] = body
        return told

    def _refusals(self) -> dict[int | str, dict[str, Any]]:
        named = [
            *self.refuses,
            *([401] if self.who else []),
            *([404] if "{" in self.path else []),
        ]
        return {
            status: {"model": Problem, "description": _WORDS[status]}
            for status in sorted({400, 429, *named})
        }


def get(path: str, body: Body, **more: Any) -> Route:
    """A route that is read, and answers with a `body`."""
    return Route(verb="GET", path=path, answers={200: body}, **more)


def told(value: object, headers: Mapping[str, str] | None = None) -> Response:
    """`value` as JSON. In ASCII: what requesters wrote into a deal may be no Unicode."""
    return Response(json.dumps(value).encode(), headers=headers, media_type="application/json")


_WORDS: Mapping[int, str] = {
    200: "The answer",
    202: "Not placed: it does not follow from what is known",
    204: "Nothing",
    208: "Known already",
    400: "Not understood",
    401: "The caller did not prove who it is",
    403: "Not for this caller",
    404: "Not here",
    409: "Another process uses the wallet",
    412: "The worker has to register first",
    429: "Too often; Retry-After says when",
    503: "Not now: ask again",
}
