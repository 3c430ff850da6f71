"""Where the Join page, the script and the files are found."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from shlex import quote
from typing import Any, Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
)

from tallystick.scheduler.joining.files import SUMS, Shelf, shelf
from tallystick.scheduler.joining.offer import PAGE, Offer
from tallystick.scheduler.joining.script import script
from tallystick.scheduler.joining.wheel import own_wheel
from tallystick.web.site import HEADERS, Site

SCRIPT: Final = "join-worker-pool.sh"
_HEADERS: Final = {**HEADERS, "cache-control": "no-cache"}


@dataclass(frozen=True, slots=True)
class Joining:
    """Everything that is told to those who join; made once, at the start of the pool."""

    offer: Offer
    shelf: Shelf
    script: str

    @property
    def script_sha256(self) -> str:
        """The checksum of the script as it is served."""
        return hashlib.sha256(self.script.encode()).hexdigest()

    def address(self, path: str) -> str:
        """The whole address of `path`."""
        return f"{self.offer.url}/{path}"

    def as_json(self) -> dict[str, Any]:
        """What `/join.json` answers."""
        files = [
            {
                "name": name,
                "url": self.address(f"join/files/{name}"),
                "sha256": each.sha256,
                "size": each.size,
            }
            for name, each in self.shelf.files.items()
        ]
        told = {"url": self.address(SCRIPT), "sha256": self.script_sha256}
        offline = self.shelf.requirements is not None
        return {
            **self.offer.as_json(),
            "script": told,
            "wheel": self.shelf.own,
            "wheelhouse": offline,
            "architectures": list(self.shelf.architectures),
            "files": files,
        }

    @property
    def commands(self) -> dict[str, str]:
        """What the copy boxes hold: lines for a shell."""
        url = quote(self.address(SCRIPT))
        fetch = f"curl -fsSL {url} | sh"
        wheel = self.shelf.files[self.shelf.own]
        own = self.address(f"join/files/{self.shelf.own}#sha256={wheel.sha256}")
        return {
            "launch": fetch,
            "wget": f"wget -qO- {url} | sh",
            "careful": f"curl -fsSLo {SCRIPT} {url}\n"
            f"echo '{self.script_sha256}  {SCRIPT}' | sha256sum -c && sh {SCRIPT}",
            "unattended": f"{fetch} -s -- --yes --name NAME --wallet FILE --password-file FILE",
            "update": f"{fetch} -s -- --update",
            "remove": f"{fetch} -s -- --remove",
            "pip": "python3 -m venv tallystick\n"
            f"tallystick/bin/pip install {quote(own)}\n"
            f"tallystick/bin/tally worker join {quote(self.offer.url)}",
        }


def attach(app: FastAPI, offer: Offer, wheelhouse: Path | None, site: Site) -> None:
    """Add the page and all that it names. `site` is the pool's: the layout stays the same.

    Raises NoWheel and BadWheelhouse.
    """
    kept = shelf(own_wheel(), wheelhouse)
    joining = Joining(offer, kept, script(offer, kept))
    own = replace(site, package="tallystick.scheduler.joining", live="")

    async def page(request: Request) -> Response:
        return own.html(request, "join.html", joining=joining, do=joining.commands)

    async def values(request: Request) -> Response:
        return JSONResponse(joining.as_json(), headers=_HEADERS)

    async def text(request: Request) -> Response:
        return PlainTextResponse(joining.script, headers=_HEADERS)

    async def index(request: Request) -> Response:
        return HTMLResponse(_index(kept), headers=_HEADERS)

    async def file(request: Request) -> Response:
        return _file(kept, request.path_params["name"])

    for path, answer in (
        (PAGE, page),
        ("/join.json", values),
        (f"/{SCRIPT}", text),
        ("/join/files/", index),
        ("/join/files/{name}", file),
    ):
        app.add_route(path, answer, include_in_schema=False)


def _index(kept: Shelf) -> str:
    """What pip reads: a link to each file, with its checksum."""
    links = (
        f'<a href="{escape(name)}#sha256={each.sha256}">{escape(name)}</a><br>'
        for name, each in kept.files.items()
    )
    head = "<!doctype html><html lang=en><meta charset=utf-8><title>Files</title>"
    return f"{head}<h1>Files</h1>{''.join(links)}"


def _file(kept: Shelf, name: str) -> Response:
    """A file of the list; any other name is not looked for anywhere."""
    if name == SUMS:
        return PlainTextResponse(kept.sums, headers=_HEADERS)
    found = kept.files.get(name)
    if found is None:
        return PlainTextResponse("There is no such file.", 404, headers=_HEADERS)
    kind = "text/plain" if name.endswith(".txt") else "application/octet-stream"
    if found.path is not None:
        return FileResponse(found.path, media_type=kind, headers=_HEADERS)
    return Response(found.content, media_type=kind, headers=_HEADERS)
