"""One site: its templates within the shared layout, its places, and its static files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import PurePosixPath
from typing import Any, Final

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from tallystick import __version__
from tallystick.web import charts, words

HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:;"
        " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
"""What a page tells a browser: run our two files, talk to us, and nothing else."""
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_FOREVER: Final = {"cache-control": "public, max-age=31536000, immutable"}
_NOT_KEPT: Final = {"cache-control": "no-cache"}


@dataclass(frozen=True, slots=True)
class Place:
    """One entry of the navigation: `path` begins with a slash."""

    title: str
    path: str


@dataclass(frozen=True, slots=True)
class Site:
    """Pages made from the templates of `package` (its folder `templates`)."""

    name: str
    """What the head of each page says; escaped, so it may come from anywhere."""
    package: str
    places: Sequence[Place] = ()
    home: str = "/"
    live: str = ""
    """The path of an event stream (see `live`); a page looks again when it speaks."""
    join: str = ""
    """The path of the Join page; empty: nobody may join, so there is no button."""
    _templates: Environment = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_templates", _environment(self.package))

    def html(
        self,
        request: Request,
        template: str,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        **values: Any,
    ) -> HTMLResponse:
        """A page. `values` are what the template shows: text is escaped. Never kept by a
        browser without asking again."""
        body = self.text(request, template, **values)
        return HTMLResponse(body, status, headers={**HEADERS, **_NOT_KEPT, **(headers or {})})

    def text(self, request: Request, template: str, **values: Any) -> str:
        """The page's HTML alone, for those who keep it."""
        return self._templates.get_template(template).render(
            site=self,
            root=str(request.scope.get("root_path", "")),
            here=request.scope["path"].removeprefix(str(request.scope.get("root_path", ""))),
            **values,
        )

    def attach(self, app: Starlette) -> None:
        """Serve the shared static files at `/static/NAME`."""
        app.add_route("/static/{name}", _static, include_in_schema=False)


async def _static(request: Request) -> Response:
    """A file of the layout, to be kept for ever: its address changes with its content."""
    found = _statics().get(request.path_params["name"])
    if found is None:
        return PlainTextResponse("There is no such file.", 404, headers=HEADERS)
    content, kind = found
    return Response(content, media_type=kind, headers={**HEADERS, **_FOREVER})


@cache
def _statics() -> Mapping[str, tuple[bytes, str]]:
    folder = resources.files("tallystick.web") / "static"
    return {
        file.name: (file.read_bytes(), _TYPES[PurePosixPath(file.name).suffix])
        for file in folder.iterdir()
    }


def _address(name: str) -> str:
    """The address of a static file below the root, with its content's mark."""
    content, _ = _statics()[name]
    return f"/static/{name}?{hashlib.sha256(content).hexdigest()[:12]}"


@cache
def _environment(package: str) -> Environment:
    loader = ChoiceLoader([PackageLoader(package), PackageLoader("tallystick.web")])
    made = Environment(
        loader=loader,
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(words.FILTERS)
    made.globals.update(static=_address, version=__version__, chart=charts.line)
    return made
