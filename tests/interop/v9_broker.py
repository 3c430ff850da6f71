"""The notification channel as a v9 scheduler serves it: SockJS, and inside a broker of STOMP.

Written from section 2 of the wire protocol. What is told while nobody listens is lost.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

_PRELUDE = b"h" * 2048 + b"\n"
_STREAM = 128 << 10
_FRAME = 64 << 10
_TOPIC = re.compile(r"/topic/task/0x[0-9a-f]{64}")
_KIND = "application/javascript;charset=UTF-8"
_ESCAPES = {"\\": "\\\\", ":": "\\c", "\n": "\\n", "\r": "\\r"}


class BadFrame(ValueError):
    """What a client sent is no STOMP, or not what a v9 worker says."""


@dataclass
class Session:
    """One SockJS session and the STOMP connection in it."""

    id: str
    transport: str = ""
    """The last one."""
    topics: dict[str, str] = field(default_factory=dict)
    """Destination by subscription."""
    connected: bool = False
    over: bool = False
    receivers: int = 0
    """Open answers; more than one is refused."""
    streams: int = 0
    """How many answers it had."""
    bell: anyio.Event = field(default_factory=anyio.Event)
    queue: list[str] = field(default_factory=list)
    """Frames of SockJS that nobody fetched yet."""

    def push(self, frame: str) -> None:
        self.queue.append(frame)
        self.ring()

    def ring(self) -> None:
        self.bell.set()
        self.bell = anyio.Event()

    async def next(self, patience: float) -> str:
        """The next frame; a heartbeat when there is none for so many seconds."""
        with anyio.move_on_after(patience):
            while not self.queue and not self.over:
                await self.bell.wait()
        if self.queue:
            return self.queue.pop(0)
        return 'c[3000,"Go away!"]' if self.over else "h"


@dataclass
class Broker:
    """All sessions. `said` is every frame of STOMP in both directions, for people to read."""

    websocket: bool = False
    xhr_only: bool = False
    """Refuse streaming, so that a client has to poll."""
    stream: int = _STREAM
    """Bytes after which a streamed answer ends."""
    heartbeat: float = 5.0
    rejoin: float = 5.0
    """Seconds that a session lives without anybody who receives."""
    sessions: dict[str, Session] = field(default_factory=dict)
    opened: list[str] = field(default_factory=list)
    """The transport of each session that was ever opened."""
    said: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    """Bodies of all notifications that went to somebody."""
    problems: list[str] = field(default_factory=list)
    changed: anyio.Event = field(default_factory=anyio.Event)
    _messages: int = 0

    def routes(self) -> list[BaseRoute]:
        place = "/connect/{server}/{session}"
        return [
            Route("/connect/info", self._info, methods=["GET"]),
            Route(f"{place}/xhr_streaming", self._streaming, methods=["POST"]),
            Route(f"{place}/xhr", self._polling, methods=["POST"]),
            Route(f"{place}/xhr_send", self._send, methods=["POST"]),
            WebSocketRoute(f"{place}/websocket", self._websocket),
        ]

    # -- for the scheduler ----------------------------------------------------------------

    def publish(self, destination: str, body: str) -> int:
        """To everybody who listens now; how many that are."""
        size, reached = len(body.encode()), 0
        for session in list(self.sessions.values()):
            for id, topic in session.topics.items():
                if topic == destination:
                    self._messages += 1
                    headers = {
                        "destination": destination,
                        "content-type": "application/json",
                        "subscription": id,
                        "message-id": f"{session.id}-{self._messages}",
                        "content-length": str(size),
                    }
                    self._tell(session, "MESSAGE", headers, body)
                    reached += 1
        if reached:
            self.told.append(body)
        return reached

    def listens(self, destination: str) -> bool:
        return any(destination in each.topics.values() for each in self.sessions.values())

    async def until_listens(self, destination: str) -> None:
        while not self.listens(destination):
            await self.changed.wait()

    def drop(self) -> None:
        """Lose all sessions, as a process does that dies."""
        for session in self.sessions.values():
            session.over = True
            session.topics.clear()
            session.queue.clear()
            session.ring()
        self.sessions.clear()

    # -- SockJS ---------------------------------------------------------------------------

    async def _info(self, request: Request) -> Response:
        told = {
            "entropy": -123456,
            "origins": ["*:*"],
            "cookie_needed": True,
            "websocket": self.websocket,
        }
        head = {"cache-control": "no-store, no-cache, must-revalidate, max-age=0"}
        body = json.dumps(told, separators=(",", ":"))
        return Response(body, media_type="application/json", headers=head)

    async def _streaming(self, request: Request) -> Response:
        if self.xhr_only:
            return Response(status_code=404)
        if (refusal := await self._odd(request)) is not None:
            return refusal
        session, fresh = self._session(request, "xhr_streaming")
        return StreamingResponse(
            self._streamed(session, fresh), headers={"content-type": _KIND}
        )

    async def _streamed(self, session: Session, fresh: bool) -> AsyncIterator[bytes]:
        yield _PRELUDE
        if session.receivers:
            yield b'c[2010,"Another connection still open"]\n'
            return
        async with self._receiving(session):
            sent = 0
            if fresh:
                yield b"o\n"
            while sent < self.stream:
                frame = (await session.next(self.heartbeat)).encode() + b"\n"
                sent += len(frame)
                yield frame
                if frame.startswith(b"c"):
                    return

    def _receiving(self, session: Session) -> Any:
        return _Receiving(self, session)

    async def _polling(self, request: Request) -> Response:
        if (refusal := await self._odd(request)) is not None:
            return refusal
        session, fresh = self._session(request, "xhr")
        if session.receivers:
            frame = 'c[2010,"Another connection still open"]'
        elif fresh:
            frame = "o"
            self._watch(session)
        else:
            async with self._receiving(session):
                frame = await session.next(self.heartbeat)
        return Response(frame + "\n", headers={"content-type": _KIND})

    async def _send(self, request: Request) -> Response:
        body = await request.body()
        session = self.sessions.get(request.path_params["session"])
        if "origin" in request.headers:
            return self._refused(403, "a foreign Origin")
        if session is None:
            return Response(status_code=404)
        if not body:
            return self._refused(500, "Payload expected.")
        kind = request.headers.get("content-type", "")
        if not kind.startswith("application/json"):
            self.problems.append(f"xhr_send of {kind!r}")
        try:
            messages = json.loads(body)
        except ValueError:
            return self._refused(500, "Broken JSON encoding.")
        if not isinstance(messages, list) or not all(isinstance(m, str) for m in messages):
            return self._refused(500, "Broken JSON encoding.")
        for each in messages:
            self._heard(session, each)
        return Response(status_code=204)

    async def _websocket(self, socket: WebSocket) -> None:
        if not self.websocket or "origin" in socket.headers:
            await socket.close(1008)
            return
        await socket.accept()
        session = Session(socket.path_params["session"], "websocket")
        self.sessions[session.id] = session
        self.opened.append("websocket")
        await socket.send_text("o")
        async with anyio.create_task_group() as both:
            both.start_soon(self._outwards, session, socket)
            try:
                while True:
                    told = json.loads(await socket.receive_text())
                    for each in told if isinstance(told, list) else [told]:
                        self._heard(session, each)
            except WebSocketDisconnect:
                self._gone(session)
            both.cancel_scope.cancel()

    async def _outwards(self, session: Session, socket: WebSocket) -> None:
        while True:
            frame = await session.next(self.heartbeat)
            if len(frame) > 8192:
                self.problems.append("a frame longer than Tomcat's clients take")
            await socket.send_text(frame)
            if frame.startswith("c"):
                await socket.close()
                return

    async def _odd(self, request: Request) -> Response | None:
        """What is wrong with a request to receive."""
        if "origin" in request.headers:
            return self._refused(403, "a foreign Origin")
        if await request.body():
            self.problems.append(f"{request.url.path} has a body")
        for name in ("server", "session"):
            if "." in request.path_params[name]:
                return self._refused(404, "a dot in a path")
        if not re.fullmatch(r"\d{1,3}", request.path_params["server"]):
            self.problems.append(f"server id {request.path_params['server']!r}")
        return None

    def _refused(self, status: int, why: str) -> Response:
        self.problems.append(f"{status}: {why}")
        return Response(why, status_code=status)

    def _session(self, request: Request, transport: str) -> tuple[Session, bool]:
        id = request.path_params["session"]
        fresh = id not in self.sessions
        session = self.sessions.setdefault(id, Session(id))
        session.transport = transport
        if fresh:
            self.opened.append(transport)
        return session, fresh

    def _gone(self, session: Session) -> None:
        session.over = True
        session.topics.clear()
        self.sessions.pop(session.id, None)

    def _watch(self, session: Session) -> None:
        """Drop it unless somebody comes back in time."""
        seen = session.streams
        loop_later(self.rejoin, lambda: self._left(session, seen))

    def _left(self, session: Session, seen: int) -> None:
        if session.streams == seen and not session.receivers:
            self._gone(session)

    # -- STOMP ----------------------------------------------------------------------------

    def _tell(self, session: Session, command: str, headers: Any, body: str = "") -> None:
        plain = command == "CONNECTED"
        lines = [f"{k}:{v if plain else _escaped(v)}" for k, v in headers.items()]
        frame = "\n".join([command, *lines]) + f"\n\n{body}\0"
        self.said.append("< " + frame)
        session.push("a" + json.dumps([frame], separators=(",", ":")))

    def _heard(self, session: Session, message: str) -> None:
        """One message; Spring ends the session of who cannot speak."""
        try:
            if len(message) > _FRAME:
                raise BadFrame("a frame of more than 64 KiB")
            if message in ("\n", "\r\n"):
                return  # a heartbeat
            self.said.append("> " + message)
            self._obey(session, *_parsed(message))
        except BadFrame as problem:
            self.problems.append(f"{problem} ({message[:80]!r})")
            self._tell(session, "ERROR", {"message": str(problem)})
            self._gone(session)
        self.changed.set()
        self.changed = anyio.Event()

    def _obey(self, session: Session, command: str, headers: dict[str, str], body: str) -> None:
        if (command in ("CONNECT", "STOMP")) is session.connected:
            raise BadFrame(f"{command} at the wrong time")
        match command:
            case "CONNECT" | "STOMP":
                self._connect(session, headers)
            case "SUBSCRIBE":
                self._subscribe(session, headers)
            case "UNSUBSCRIBE":
                if session.topics.pop(headers.get("id", ""), None) is None:
                    raise BadFrame("no such subscription")
            case "DISCONNECT":
                if "receipt" in headers:
                    self._tell(session, "RECEIPT", {"receipt-id": headers["receipt"]})
                session.topics.clear()
            case _:
                raise BadFrame(f"a v9 worker never sends {command}")

    def _connect(self, session: Session, headers: dict[str, str]) -> None:
        versions = headers.get("accept-version", "").split(",")
        if not {"1.1", "1.2"} & set(versions):
            raise BadFrame(f"which version of STOMP? {versions}")
        session.connected = True
        version = "1.2" if "1.2" in versions else "1.1"
        self._tell(session, "CONNECTED", {"version": version, "heart-beat": "0,0"})

    @staticmethod
    def _subscribe(session: Session, headers: dict[str, str]) -> None:
        topic, id = headers.get("destination", ""), headers.get("id", "")
        if not id or id in session.topics:
            raise BadFrame(f"the subscription {id!r} exists, or has no name")
        if not _TOPIC.fullmatch(topic):
            raise BadFrame(f"a v9 scheduler has no topic {topic!r}")
        session.topics[id] = topic


class _Receiving:
    """Marks a session as received from; who leaves it alone for too long loses it."""

    def __init__(self, broker: Broker, session: Session) -> None:
        self._broker, self._session = broker, session

    async def __aenter__(self) -> None:
        self._session.receivers += 1
        self._session.streams += 1

    async def __aexit__(self, *_: object) -> None:
        self._session.receivers -= 1
        self._broker._watch(self._session)


def loop_later(seconds: float, do: Any) -> None:
    asyncio.get_running_loop().call_later(seconds, do)


def _escaped(value: str) -> str:
    return "".join(_ESCAPES.get(letter, letter) for letter in value)


def _parsed(frame: str) -> tuple[str, dict[str, str], str]:
    """Command, headers, body; the first of headers of one name counts."""
    if not frame.endswith("\0"):
        raise BadFrame("a frame without NUL")
    head, found, body = frame[:-1].lstrip("\n").partition("\n\n")
    if not found:
        raise BadFrame("a frame without a blank line")
    command, *lines = head.split("\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise BadFrame(f"a header without a colon: {line!r}")
        if command not in ("CONNECT", "CONNECTED"):
            for plain, escape in reversed(_ESCAPES.items()):
                value = value.replace(escape, plain)
        headers.setdefault(name, value)
    if body and "content-length" in headers and int(headers["content-length"]) != len(body):
        raise BadFrame("content-length")
    return command, headers, body
