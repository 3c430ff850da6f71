"""The interface described: an OpenAPI document, and the same as a page for people."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, Response

from tallystick import __version__
from tallystick.scheduler.look import POLICY, STYLE
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
    """Add the document and the page to `app`."""
    app.add_api_route("/openapi.json", _document, include_in_schema=False)
    app.add_api_route("/docs", _page, include_in_schema=False)


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


async def _page(request: Request) -> HTMLResponse:
    """Every route on one page, with nothing from elsewhere."""
    headers = {"content-security-policy": POLICY, "x-content-type-options": "nosniff"}
    return HTMLResponse("\n".join(_lines(document(request.app))), headers=headers)


def _operations(found: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, verbs in found["paths"].items():
        for verb, operation in verbs.items():
            yield path, verb, operation


def _lines(found: dict[str, Any]) -> Iterator[str]:
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width">'
    yield f"<title>{escape(found['info']['title'])}</title><style>{STYLE}</style></head><body>"
    yield f"<h1>{escape(found['info']['title'])} {escape(found['info']['version'])}</h1>"
    for paragraph in found["info"]["description"].split("\n\n"):
        yield f"<p>{escape(paragraph)}</p>"
    yield '<p>The same for programs: <a href="openapi.json">openapi.json</a>.</p>'
    tag = ""
    for path, verb, operation in _operations(found):
        if operation["tags"][0] != tag:
            tag = operation["tags"][0]
            yield f"<h2>{escape(tag)}</h2>"
        yield from _operation(path, verb, operation)
    yield "<h2>Bodies</h2>"
    for name, schema in found["components"]["schemas"].items():
        yield from _schema(name, schema)
    yield "</body></html>"


def _operation(path: str, verb: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"<h3><code>{verb.upper()} {escape(path)}</code></h3>"
    yield f"<p>{escape(operation['description'])}</p>"
    if needs := operation.get("security"):
        (scheme,) = needs[0]
        yield f"<p>Needs: {escape(_SCHEMES[scheme]['description'])}</p>"
    yield "<table><tbody>"
    for each in operation.get("parameters", ()):
        place = f"{each['in']}{', required' if each.get('required') else ''}"
        yield _row(f"{each['name']} ({place})", _kind(each["schema"]))
    if body := operation.get("requestBody"):
        yield _row("body", _contents(body))
    for status, answer in operation["responses"].items():
        yield _row(status, f"{answer['description']}. {_contents(answer)}")
    yield "</tbody></table>"


def _schema(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f'<h3 id="{escape(name)}"><code>{escape(name)}</code></h3>'
    yield f"<p>{escape(schema.get('description', ''))}</p><table><tbody>"
    for field, kind in schema.get("properties", {}).items():
        yield _row(field, _kind(kind))
    yield "</tbody></table>"


def _contents(holder: dict[str, Any]) -> str:
    return ", ".join(
        f"{kind}: {_kind(content.get('schema', {}))}"
        for kind, content in holder.get("content", {}).items()
    )


def _kind(schema: dict[str, Any]) -> str:
    """A schema in a few words."""
    if name := schema.get("$ref", "").rpartition("/")[2]:
        return str(name)
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(map(_kind, choices))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if words := schema.get("enum"):
        return ", ".join(map(str, words))
    return f"{schema.get('type', 'anything')} {schema.get('pattern', '')}".strip()


def _row(name: str, meaning: str) -> str:
    return f'<tr><th scope="row">{escape(name)}</th><td>{escape(meaning)}</td></tr>'
