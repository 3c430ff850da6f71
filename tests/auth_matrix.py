"""Every route of an application, by verb and path, so that a new one has to be classified."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from starlette.routing import Mount


def routes_of(app: Any) -> set[str]:
    """`GET /tasks/{task_id}`; HEAD is left out where GET is served, a mount is `MOUNT`."""
    return set(_routes(app))


def _routes(app: Any) -> Iterator[str]:
    for route in app.routes:
        if isinstance(route, Mount):
            yield f"MOUNT {route.path}"
            continue
        if (inner := getattr(route, "original_router", None)) is not None:
            yield from _routes(inner)
            continue
        verbs = set(route.methods or ())
        for verb in verbs - ({"HEAD"} if "GET" in verbs else set()):
            yield f"{verb} {route.path}"


def unclassified(app: Any, known: Mapping[str, object]) -> str:
    """What stands in the way of a matrix that is whole; empty when nothing does."""
    found = routes_of(app)
    new, gone = sorted(found - known.keys()), sorted(known.keys() - found)
    told = [f"say who may use {each}" for each in new]
    return "; ".join(told + [f"{each} is no route any more" for each in gone])
