"""Reports about tasks of other processes: the owner gets the request and gives the answer."""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from tallystick.engine.errors import Unavailable
from tallystick.engine.fence import shard_of

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]
Ask = Callable[[int, str, Any], Awaitable[Any]]
"""Asks the owner of a shard for something of a kind."""

KIND: Final = "request"
_ABOUT_A_TASK: Final = re.compile(r"^/replicates/(0x[0-9a-f]{64})/updateStatus$")
_TRAVELS: Final = {b"authorization", b"content-type", b"content-length"}


class Relay:
    """ASGI middleware: reports about tasks of others are answered by their owners."""

    def __init__(
        self, app: Asgi, *, owns: Callable[[str], bool], ask: Ask, instance: str
    ) -> None:
        """`instance`: the header by which workers name their process."""
        self._app, self._owns, self._ask = app, owns, ask
        self._travels = _TRAVELS | {instance.lower().encode()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer here, or with what the owner of the task answered; 503 when it is silent."""
        about = _ABOUT_A_TASK.match(scope["path"]) if scope["type"] == "http" else None
        if about is None or self._owns(about[1]):
            await self._app(scope, receive, send)
            return
        asked = await self._written_down(scope, receive)
        try:
            answer = await self._ask(shard_of(about[1]), KIND, asked)
        except Unavailable:
            answer = {"status": 503, "headers": [["retry-after", "1"]], "body": ""}
        await _reply(answer, send)

    async def _written_down(self, scope: Scope, receive: Receive) -> dict[str, Any]:
        body, more = b"", True
        while more:
            part = await receive()
            body += part.get("body", b"")
            more = part.get("more_body", False)
        headers = [
            [k.decode("latin-1"), v.decode("latin-1")]
            for k, v in scope["headers"]
            if k in self._travels
        ]
        return {
            "method": scope["method"],
            "path": scope["path"],
            "query": scope["query_string"].decode("latin-1"),
            "headers": headers,
            "body": base64.b64encode(body).decode(),
        }


async def answered(app: Asgi, asked: dict[str, Any]) -> dict[str, Any]:
    """What `app` answers a request that came to another process."""
    told: dict[str, Any] = {"status": 500, "headers": [], "body": b""}
    parts = [{"type": "http.request", "body": base64.b64decode(asked["body"])}]

    async def receive() -> Message:
        return parts.pop() if parts else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            told["status"] = message["status"]
            told["headers"] = [
                [k.decode("latin-1"), v.decode("latin-1")] for k, v in message["headers"]
            ]
        else:
            told["body"] += message.get("body", b"")

    await app(_scope(asked), receive, send)
    return {**told, "body": base64.b64encode(told["body"]).decode()}


def _scope(asked: dict[str, Any]) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": asked["method"],
        "scheme": "http",
        "path": asked["path"],
        "raw_path": asked["path"].encode(),
        "root_path": "",
        "query_string": asked["query"].encode("latin-1"),
        "headers": [(k.encode("latin-1"), v.encode("latin-1")) for k, v in asked["headers"]],
        "client": None,
        "server": None,
        "state": {},
    }


async def _reply(answer: dict[str, Any], send: Send) -> None:
    headers = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in answer["headers"]]
    start = {"type": "http.response.start", "status": answer["status"], "headers": headers}
    await send(start)
    body = base64.b64decode(answer["body"])
    await send({"type": "http.response.body", "body": body})
