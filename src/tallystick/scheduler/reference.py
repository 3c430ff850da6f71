"""The interface described, as an OpenAPI document; `dashboard.manual` shows it to people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import Response

from tallystick import __version__
from tallystick.scheduler.routing import REQUESTER, WORKER, told

_ABOUT: Final = """The interface of a workerpool's scheduler.

Workers speak the routes of the v9 stack, to the field; whoever has them may ask the others.
Every refusal is JSON with a `message` that says what to do next. Beyond those that a route
names: 413, 414 and 431 for what is too large, 408 for what arrives too slowly."""
_SCHEMES: Final = {
    WORKER: {
        "type": "http",
        "scheme": "bearer",
        "description": "The token that POST /workers/login answers.",
    },
    REQUESTER: {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "HASH_SIGNATURE_ADDRESS: the signature of GET /tasks/logs/challenge.",
    },
}
_UNUSED: Final = ("HTTPValidationError", "ValidationError")


def attach(app: FastAPI) -> None:
    """Add the document to `app`."""
    app.add_api_route("/openapi.json", _document, include_in_schema=False)


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of `app`."""
    if app.openapi_schema is None:
        found = get_openapi(
            title=app.title, version=__version__, description=_ABOUT, routes=app.routes
        )
        for operation in _operations(found):
            operation[2]["responses"].pop("422", None)  # mistakes are answered with 400
        parts = found.setdefault("components", {})
        for name in _UNUSED:
            parts.get("schemas", {}).pop(name, None)
        parts["securitySchemes"] = _SCHEMES
        app.openapi_schema = found
    return app.openapi_schema


async def _document(request: Request) -> Response:
    """The OpenAPI document."""
    root = str(request.scope.get("root_path", ""))
    return told(document(request.app) | ({"servers": [{"url": root}]} if root else {}))


def _operations(found: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, verbs in found["paths"].items():
        for verb, operation in verbs.items():
            yield path, verb, operation
