"""The transports of SockJS, as an application behind `/connect`."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import Final

import anyio
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from tallystick.scheduler.channel.sessions import Full, Session
from tallystick.scheduler.channel.switch import Switch
from tallystick.wire import sockjs
from tallystick.wire.refusals import refusal

_JSON: Final = "application/json;charset=UTF-8"
_SCRIPT: Final = b"application/javascript;charset=UTF-8"
_FRESH: Final = "no-store, no-cache, must-revalidate, max-age=0"
_REST: Final = re.compile(r"/connect(/[^\r\n]*)?$")
_LONGEST_SEND: Final = 256 << 10
"""Bytes that a client may send at once."""
_VERBS: Final = {"info": "GET", "xhr": "POST", "xhr_streaming": "POST", "xhr_send": "POST"}

Handler = Callable[[str, Scope, Receive, Send], Awaitable[None]]


class Transports:
    """ASGI application: `GET /info`, and below each session its transports."""

    def __init__(self, switch: Switch, *, websocket: bool) -> None:
        """`websocket`: whether that transport is announced, and taken."""
        self._switch, self._websocket = switch, websocket
        self._receivers: dict[str, Handler] = {"xhr": self._poll, "xhr_streaming": self._stream}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or one WebSocket."""
        found = _REST.search(scope["path"])
        rest = (found[1] if found else "") or ""
        if scope["type"] == "websocket":
            await self._over_websocket(rest, WebSocket(scope, receive, send))
            return
        request = Request(scope, receive)
        place = sockjs.PATH.fullmatch(rest)
        how = "info" if rest == "/info" else _transport(place)
        answer = _unfit(request, how)
        if answer is None and how == "info":
            told = sockjs.info(websocket=self._websocket)
            answer = Response(json.dumps(told), headers=_headers(), media_type=_JSON)
        if answer is None and place and how == "xhr_send":
            answer = await self._sent(place["session"], request)
        if answer is not None:
            await answer(scope, receive, send)
        elif place is not None:
            await self._receivers[how](place["session"], scope, receive, send)

    async def _sent(self, id: str, request: Request) -> Response:
        try:
            messages = sockjs.sent(await _body(request))
        except sockjs.BadPayload as problem:
            return PlainTextResponse(str(problem), status_code=500)
        if not await self._switch.deliver(id, messages):
            return Response(status_code=404)
        return Response(status_code=204, headers=_headers())

    async def _poll(self, id: str, scope: Scope, receive: Receive, send: Send) -> None:
        """One frame, and the answer ends."""
        await self._received(id, scope, receive, send, most=1)

    async def _stream(self, id: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Frames until there were enough of them, or the session ends."""
        await self._received(id, scope, receive, send, most=sockjs.STREAM_BYTES)

    async def _received(
        self, id: str, scope: Scope, receive: Receive, send: Send, *, most: int
    ) -> None:
        try:
            session = self._switch.join(id, _host(scope))
        except Full as problem:
            refused = refusal(503, str(problem), scope["path"])
            await refused(scope, receive, send)
            return
        prelude = sockjs.PRELUDE if most > 1 else b""
        headers = [(b"content-type", _SCRIPT), (b"cache-control", _FRESH.encode())]
        start = {"type": "http.response.start", "status": 200, "headers": headers}
        await send(start)
        if prelude:
            await send({"type": "http.response.body", "body": prelude, "more_body": True})
        if session is None:
            frame = f"{sockjs.closed(sockjs.BUSY)}\n".encode()
            await send({"type": "http.response.body", "body": frame})
            return
        try:
            async with anyio.create_task_group() as both:
                both.start_soon(_until_gone, receive, both.cancel_scope)
                await _frames(session, send, most)
                both.cancel_scope.cancel()
        finally:
            self._switch.leave(session)

    async def _over_websocket(self, rest: str, socket: WebSocket) -> None:
        place = sockjs.PATH.fullmatch(rest)
        if not (self._websocket and place and place["how"] == "websocket"):
            await socket.close(1008)  # before it is accepted: 403
            return
        if _foreign(socket.headers.get("origin", ""), socket.headers.get("host", "")):
            await socket.close(1008)
            return
        try:
            session = self._switch.join(place["session"], _host(socket.scope))
        except Full:
            session = None
        if session is None:
            await socket.close(1013)
            return
        await socket.accept()
        try:
            async with anyio.create_task_group() as both:
                both.start_soon(self._listen, socket, session, both.cancel_scope)
                await _speak(socket, session)
                both.cancel_scope.cancel()
        finally:
            self._switch.leave(session, for_good=True)

    async def _listen(
        self, socket: WebSocket, session: Session, scope: anyio.CancelScope
    ) -> None:
        try:
            while True:
                text = await socket.receive_text()
                await self._switch.deliver(
                    session.id, sockjs.sent(text.encode()) if text else []
                )
        except (WebSocketDisconnect, KeyError):
            scope.cancel()
        except sockjs.BadPayload:
            session.end(sockjs.BROKEN)


async def _frames(session: Session, send: Send, most: int) -> None:
    """Frames to a client that waits for them; with `most` 1 it is one."""
    size, ended = 0, False
    while size < most and not ended:
        frame = await session.frame()
        ended = frame.startswith("c")
        body = f"{frame}\n".encode()
        size += len(body)
        more = size < most and not ended
        await send({"type": "http.response.body", "body": body, "more_body": more})


async def _speak(socket: WebSocket, session: Session) -> None:
    while True:
        frame = await session.frame(single=True)
        await socket.send_text(frame)
        if frame.startswith("c"):
            await socket.close(1000)
            return


async def _until_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LONGEST_SEND:
            raise sockjs.BadPayload("Broken JSON encoding.")
    return body


def _unfit(request: Request, how: str) -> Response | None:
    """Why a request is not for a transport; None when it is."""
    path, verb = request.url.path, _VERBS.get(how)
    if verb is None:
        return refusal(404, f"There is no {path} here.", path)
    if request.method == "OPTIONS":
        allowed = {"access-control-allow-methods": f"OPTIONS, {verb}"}
        return Response(status_code=204, headers=allowed)
    if request.method != verb:
        return refusal(405, f"{path} takes {verb}.", path, headers={"allow": verb})
    if _foreign(request.headers.get("origin", ""), request.headers.get("host", "")):
        return refusal(403, "Pages of other sites do not speak here.", path)
    return None


def _transport(place: re.Match[str] | None) -> str:
    """Which one a session is asked for by; nothing for what there is none of."""
    return place["how"] if place and place["how"] != "info" else ""


def _foreign(origin: str, host: str) -> bool:
    """Whether a browser asks for a page of another site; workers name none."""
    return bool(origin) and origin.partition("://")[2] != host


def _headers() -> dict[str, str]:
    return {"cache-control": _FRESH}


def _host(scope: Scope) -> str:
    """Where a client is; empty on this machine, where a proxy may be."""
    client = scope.get("client")
    host = client[0] if client else ""
    return "" if host.startswith("127.") or host == "::1" else host
