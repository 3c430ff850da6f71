"""The port on which a worker's figures are read: for programs of the same machine that ask for
them by its name. A page of the web, whose name may be made to mean this machine, is none.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, Final, TypeAlias
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

LOOPBACK: Final = "127.0.0.1"
_OURS: Final = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?", re.IGNORECASE)
_PATH: Final = "/metrics"

_Environ: TypeAlias = dict[str, Any]
_App: TypeAlias = Callable[[_Environ, Callable[..., Any]], Iterable[bytes]]


def listen(port: int, registry: CollectorRegistry) -> tuple[WSGIServer, threading.Thread]:
    """Answer `GET /metrics` on the loopback, in a thread. Raises OSError."""
    app = _guarded(make_wsgi_app(registry))
    server = make_server(LOOPBACK, port, app, ThreadingWSGIServer, _Silent)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    return server, thread


def refused(environ: _Environ) -> HTTPStatus | None:
    """Why a request is not answered; None when it is."""
    host, origin = environ.get("HTTP_HOST", ""), environ.get("HTTP_ORIGIN")
    if origin is not None or not _OURS.fullmatch(host):
        return HTTPStatus.FORBIDDEN
    if environ["PATH_INFO"] != _PATH:
        return HTTPStatus.NOT_FOUND
    return None if environ["REQUEST_METHOD"] == "GET" else HTTPStatus.METHOD_NOT_ALLOWED


def _guarded(app: _App) -> _App:
    def guarded(environ: _Environ, start: Callable[..., Any]) -> Iterable[bytes]:
        status = refused(environ)
        if status is None:
            return app(environ, start)
        start(f"{status.value} {status.phrase}", [("Content-Type", "text/plain")])
        return [f"{status.phrase}: GET http://{LOOPBACK}:PORT{_PATH} tells figures.\n".encode()]

    return guarded


class _Silent(WSGIRequestHandler):
    """Writes no line for each request."""

    timeout = 30
    """Seconds for a request to arrive."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
