"""Running an HTTP service inside a program that does other things as well."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import uvicorn
from anyio.abc import TaskStatus
from fastapi import FastAPI, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send


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


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to `host` and `port`, 0 for any free one. Raises PortTaken."""
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


async def serve(
    app: FastAPI,
    sock: socket.socket,
    *,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` on `sock` until cancelled; requests under way then have a second."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    async with anyio.create_task_group() as tasks:
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


class BodyLimit:
    """Answers 413 to requests whose body is larger than a service has any use for."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        """`most`: bytes of a body."""
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._most:
                await Response(status_code=413)(scope, receive, send)
                return
        await self._app(scope, _replay(body, receive), send)


def _replay(body: bytes, receive: Receive) -> Receive:
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again
