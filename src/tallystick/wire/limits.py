"""What a request may weigh, and how long it may take to arrive."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tallystick.wire.refusals import refusal

_HOST: Final = re.compile(
    rb"[A-Za-z0-9.\-_]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?"
)
_NUMBER: Final = re.compile(rb"\d{1,15}")


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that a service has any use for."""

    body: int
    """Bytes."""
    url: int = 8 << 10
    """Bytes of path and query."""
    headers: int = 32 << 10
    """Bytes of all headers together."""
    patience: float = 30.0
    """Seconds in which a body must have arrived."""


class Limited:
    """Refuses what is larger, or slower, than `limits`, before anything else looks at it:
    413, 414, 431, 408; and 400 for a `Host` that names no host."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app, self._limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        problem = self._weighed(scope)
        if problem is None and _is_bodiless(scope):
            await self._app(scope, receive, send)
            return
        if problem is None:
            body = await self._body(receive)
            if isinstance(body, bytes):
                await self._app(scope, _replay(body, receive), send)
                return
            problem = body
        if problem[0]:
            answer = refusal(*problem, scope["path"], headers={"connection": "close"})
            await answer(scope, receive, send)

    def _weighed(self, scope: Scope) -> tuple[int, str] | None:
        """What is wrong with a request that has not been read yet."""
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > self._limits.url:
            return 414, f"The address is longer than {self._limits.url} bytes: shorten it."
        if sum(len(name) + len(value) for name, value in headers) > self._limits.headers:
            return 431, f"The headers exceed {self._limits.headers} bytes: send fewer of them."
        named = {name: value for name, value in headers if name in (b"host", b"content-length")}
        if b"host" in named and not _HOST.fullmatch(named[b"host"]):
            return 400, "The Host header names no host: send the name of this service."
        size = named.get(b"content-length", b"0")
        if _NUMBER.fullmatch(size) and int(size) > self._limits.body:
            return self._too_large
        return None

    async def _body(self, receive: Receive) -> bytes | tuple[int, str]:
        """The whole body, or what is wrong with it; status 0 when the caller hung up."""
        parts, size = list[bytes](), 0
        with anyio.move_on_after(self._limits.patience):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return 0, ""
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > self._limits.body:
                    return self._too_large
                if not message.get("more_body", False):
                    return b"".join(parts)
        return 408, f"The body took more than {self._limits.patience:g} s to arrive: try again."

    @property
    def _too_large(self) -> tuple[int, str]:
        return 413, f"The body is larger than {self._limits.body} bytes: send less."


def _is_bodiless(scope: Scope) -> bool:
    """Whether nothing follows the head, so that there is nothing to wait for."""
    for name, value in scope["headers"]:
        if name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
            return False
    return True


def _replay(body: bytes, receive: Receive) -> Receive:
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Any:
        return waiting.pop() if waiting else await receive()

    return again
