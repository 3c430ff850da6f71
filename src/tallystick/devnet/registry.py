"""An image registry on the loopback: the reading half of the OCI distribution interface.

    python -m tallystick.devnet.registry --port 13002 --shelf FOLDER

Docker and our own executors pull from it as from any other; images come onto the shelf by
`Shelf.add`, not over the network.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from tallystick.devnet.shelf import BadImage, Manifest, Shelf

_VERSION = {"Docker-Distribution-Api-Version": "registry/2.0"}


def create_app(shelf: Shelf) -> Starlette:
    """The registry of the images on `shelf`."""

    def root(_: Request) -> Response:
        return JSONResponse({}, headers=_VERSION)

    def catalog(_: Request) -> Response:
        return JSONResponse({"repositories": shelf.repositories()}, headers=_VERSION)

    def tags(request: Request) -> Response:
        name: str = request.path_params["name"]
        found = shelf.tags(name)
        if found is None:
            return _missing("NAME_UNKNOWN", f"There is no repository {name} here.")
        return JSONResponse({"name": name, "tags": found}, headers=_VERSION)

    def manifest(request: Request) -> Response:
        name, reference = request.path_params["name"], request.path_params["reference"]
        found = shelf.manifest(name, reference)
        if found is None:
            return _missing("MANIFEST_UNKNOWN", f"There is no {name}:{reference} here.")
        return _manifest(found, bare=request.method == "HEAD")

    def blob(request: Request) -> Response:
        name, digest = request.path_params["name"], request.path_params["digest"]
        path = shelf.blob(name, digest)
        if path is None:
            return _missing("BLOB_UNKNOWN", f"{name} has no blob {digest}.")
        headers = {**_VERSION, "Docker-Content-Digest": digest}
        return FileResponse(path, media_type="application/octet-stream", headers=headers)

    return Starlette(
        routes=[
            Route("/v2/", root),
            Route("/v2/_catalog", catalog),
            Route("/v2/{name:path}/tags/list", tags),
            Route("/v2/{name:path}/manifests/{reference}", manifest),
            Route("/v2/{name:path}/blobs/{digest}", blob),
        ],
        exception_handlers={BadImage: _damaged},
    )


def _manifest(found: Manifest, *, bare: bool) -> Response:
    headers = {
        **_VERSION,
        "Docker-Content-Digest": found.digest,
        "Content-Length": str(len(found.content)),
    }
    content = b"" if bare else found.content
    return Response(content, media_type=found.media_type, headers=headers)


def _missing(code: str, sentence: str) -> Response:
    error = {"code": code, "message": sentence, "detail": None}
    return JSONResponse({"errors": [error]}, status_code=404, headers=_VERSION)


def _damaged(_: Request, error: Exception) -> Response:
    told = {"code": "UNKNOWN", "message": str(error), "detail": None}
    return JSONResponse({"errors": [told]}, status_code=500, headers=_VERSION)


def main(words: Sequence[str] | None = None) -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="tallystick.devnet.registry", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--shelf", type=Path, required=True)
    given = parser.parse_args(words)
    app = create_app(Shelf(given.shelf))
    # Docker tries TLS first; that this is none is no warning.
    uvicorn.run(app, host="127.0.0.1", port=given.port, log_level="error", access_log=False)


if __name__ == "__main__":
    main()
