"""Running an HTTP service inside a program that does other things as well."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Final

import anyio
import uvicorn
from anyio.abc import TaskStatus
from fastapi import FastAPI

from tallystick.wire.slow import Impatient
from tallystick.wire.tls import Certificate

log = logging.getLogger(__name__)

_LONGEST_HEAD: Final = 64 << 10
"""Bytes of a request's head before anybody looks at it; services allow less."""
_LONGEST_MESSAGE: Final = 256 << 10
"""Bytes of a message over a WebSocket."""


class PortTaken(Exception):
    """The address is not free; the sentence says which, and what to do."""


class _Server(uvicorn.Server):
    """Leaves the signals of the process to the program it is part of."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = anyio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(host: str, port: int, *, guarded: bool = False) -> socket.socket:
    """A socket bound to `host` and `port`, 0 for any free one. Raises PortTaken.

    `guarded`: TLS is on, or a proxy in front was named. Without, an address that others can
    reach is warned of.
    """
    if not guarded and not is_private(host):
        log.warning(
            "%s can be reached by others, and what is said there can be read and changed on"
            " the way: set tls_cert and tls_key, or put a reverse proxy with TLS in front and"
            " name it in trusted_proxies, or use host = 127.0.0.1.",
            host,
        )
    found = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
    except OSError as problem:
        found.close()
        raise PortTaken(
            f"Port {port} of {host} cannot be used ({problem.strerror}): stop the program that"
            " holds it, or choose another port."
        ) from problem
    return found


def is_private(host: str) -> bool:
    """Whether only this machine reaches what is bound to `host`."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def protocol() -> type[asyncio.Protocol]:
    """What reads requests: the quick one where it is installed."""
    try:
        from tallystick.wire.quick import Quick  # noqa: PLC0415 (not on every platform)
    except ImportError:
        return Impatient
    return Quick


async def serve(
    app: FastAPI,
    sock: socket.socket,
    *,
    certificate: Certificate | None = None,
    websocket: bool = False,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` on `sock` until cancelled; requests under way then have a second. With a
    `certificate` by TLS only, and SIGHUP has its files read again. Raises BadCertificate."""
    context = certificate.context() if certificate else None
    config = uvicorn.Config(
        app,
        http=Impatient if websocket else protocol(),
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="websockets-sansio" if websocket else "none",
        ws_max_size=_LONGEST_MESSAGE,
        ws_per_message_deflate=False,
        proxy_headers=False,  # uvicorn would believe everybody on this machine
        server_header=False,
        h11_max_incomplete_event_size=_LONGEST_HEAD,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
        ssl_context_factory=(lambda *_: context) if context else None,
    )
    server = _Server(config)
    async with anyio.create_task_group() as tasks:
        if certificate and context:
            tasks.start_soon(certificate.renew, context)
        tasks.start_soon(_to_its_end, server, sock)
        await server.ready.wait()
        task_status.started()
        try:
            await anyio.sleep_forever()
        finally:
            server.should_exit = True


async def _to_its_end(server: _Server, sock: socket.socket) -> None:
    """Answers under way are finished, within uvicorn's limit, even when we are cancelled."""
    with anyio.CancelScope(shield=True):
        await server.serve([sock])
