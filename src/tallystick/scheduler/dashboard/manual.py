"""Every route for people: what the OpenAPI document says, on one page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from tallystick.scheduler.dashboard.place import Dashboard
from tallystick.scheduler.dashboard.viewer import Viewer
from tallystick.scheduler.reference import document


def attach(app: FastAPI, dashboard: Dashboard) -> None:
    """Add the page."""

    async def page(request: Request) -> Response:
        return await dashboard.show(request, "manual.html", values)

    async def values(viewer: Viewer) -> dict[str, Any]:
        found = document(app)
        return {
            "info": found["info"],
            "chapters": _chapters(found),
            "bodies": [_body(name, s) for name, s in found["components"]["schemas"].items()],
        }

    app.add_route("/docs", page, include_in_schema=False)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One route, or one body: what it is for, and a line for each part."""

    name: str
    text: str
    needs: str
    lines: list[tuple[str, str]]


def _chapters(found: Mapping[str, Any]) -> dict[str, list[_Entry]]:
    """The routes by what they are about."""
    chapters: dict[str, list[_Entry]] = {}
    for path, verbs in found["paths"].items():
        for verb, operation in verbs.items():
            entry = _Entry(
                f"{verb.upper()} {path}",
                operation["description"],
                _needs(operation, found["components"]["securitySchemes"]),
                list(_parts(operation)),
            )
            chapters.setdefault(operation["tags"][0], []).append(entry)
    return chapters


def _needs(operation: Mapping[str, Any], schemes: Mapping[str, Any]) -> str:
    for scheme in operation.get("security", ()):
        (name,) = scheme
        return str(schemes[name]["description"])
    return ""


def _parts(operation: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for each in operation.get("parameters", ()):
        place = f"{each['in']}{', required' if each.get('required') else ''}"
        yield f"{each['name']} ({place})", _kind(each["schema"])
    if body := operation.get("requestBody"):
        yield "body", _contents(body)
    for status, answer in operation["responses"].items():
        yield status, f"{answer['description']}. {_contents(answer)}"


def _body(name: str, schema: Mapping[str, Any]) -> _Entry:
    fields = schema.get("properties", {}).items()
    lines = [(field, _kind(kind)) for field, kind in fields]
    return _Entry(name, schema.get("description", ""), "", lines)


def _contents(holder: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{kind}: {_kind(content.get('schema', {}))}"
        for kind, content in holder.get("content", {}).items()
    )


def _kind(schema: Mapping[str, Any]) -> str:
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
