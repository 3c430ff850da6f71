"""The notification channel as a v9 worker uses it: SockJS by XHR streaming, STOMP inside.

Written from sections 2.1 to 2.4 of the wire protocol. It shares no code with what it is used to
test, and takes nothing that the protocol does not allow.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

import anyio
import httpx2


class ProtocolError(AssertionError):
    """The scheduler said or did what a v9 worker could not understand."""


def must(condition: object, why: str) -> None:
    if not condition:
        raise ProtocolError(why)


Heard = Callable[[str], Awaitable[None]]


@dataclass
class Channel:
    """One worker's connection. It stays closed until `keep` runs."""

    core_url: str
    check: float
    """Seconds between two looks at whether a session is there (15 in Java)."""
    heard: Heard
    sessions: int = 0
    """How many were opened in all."""
    heartbeats: int = 0
    received: list[str] = field(default_factory=list)
    _topics: dict[str, str] = field(default_factory=dict)
    """Destination by subscription id, of this session."""
    _wanted: list[str] = field(default_factory=list)
    """Destinations, which outlive a session."""
    _up: anyio.Event = field(default_factory=anyio.Event)
    _place: str = ""
    _number: int = 0
    _http: httpx2.AsyncClient | None = None
    _scope: anyio.CancelScope | None = None

    async def keep(self) -> None:
        """Connect, and again whenever the session is gone, until cancelled."""
        async with httpx2.AsyncClient(base_url=self.core_url, timeout=60) as self._http:
            while True:
                with suppress(httpx2.HTTPError):
                    await self._session()
                self._down()
                await anyio.sleep(self.check)

    async def ready(self) -> None:
        """Until there is a session: reports wait for it."""
        while not self._up.is_set():
            await self._up.wait()

    def cut(self) -> None:
        """Lose the connection, as a network does."""
        if self._scope is not None:
            self._scope.cancel()

    async def subscribe(self, destination: str) -> None:
        if destination in self._wanted:
            return
        self._wanted.append(destination)
        if self._up.is_set():
            await self._subscribe(destination)

    async def unsubscribe(self, destination: str) -> None:
        if destination not in self._wanted:
            return
        self._wanted.remove(destination)
        for id, topic in list(self._topics.items()):
            if topic == destination:
                del self._topics[id]
                await self._send(f"UNSUBSCRIBE\nid:{id}\n\n\0")

    def _down(self) -> None:
        if self._up.is_set():
            self._up = anyio.Event()
        self._topics.clear()

    async def _session(self) -> None:
        assert self._http is not None
        answer = await self._http.get("/connect/info")
        must(answer.status_code == 200, f"/connect/info says {answer.status_code}")
        must(
            re.search(r'"websocket"\s*:\s*false', answer.text),
            "the Java worker would try WebSocket first",
        )
        self._place = f"/connect/{secrets.randbelow(1000)}/{secrets.token_hex(16)}"
        self.sessions += 1
        opened = 0
        with anyio.CancelScope() as self._scope:
            while opened < 2:
                opened += await self._stream(first=not opened)
        # A second `o` on a known session: the server lost it. Start over.

    async def _stream(self, *, first: bool) -> int:
        """One answer of xhr_streaming, to its end; how many sessions it opened."""
        assert self._http is not None
        opened = size = 0
        url = f"{self._place}/xhr_streaming"
        headers = {"content-type": "application/json"}
        async with self._http.stream("POST", url, content=b"", headers=headers) as answer:
            must(answer.status_code == 200, f"xhr_streaming says {answer.status_code}")
            kind = answer.headers["content-type"]
            must(kind == "application/javascript;charset=UTF-8", f"content type {kind}")
            async for line in answer.aiter_lines():
                if not size:
                    must(line == "h" * 2048, "no prelude")
                size += len(line) + 1
                if size > 2049:
                    opened += await self._frame(line)
                if line.startswith("c"):
                    self._down()
                    return 2
        if first:
            must(opened == 1, "a new session does not begin with o")
        return opened

    async def _frame(self, line: str) -> int:
        match line[:1]:
            case "o":
                must(line == "o", "what stands behind o?")
                await self._send(
                    "CONNECT\nheart-beat:10000,10000\naccept-version:1.1,1.2\n\n\0"
                )
                return 1
            case "h":
                must(line == "h", "what stands behind h?")
                self.heartbeats += 1
            case "a":
                for text in json.loads(line[1:]):
                    await self._stomp(text)
            case "c":
                code, reason = json.loads(line[1:])
                must(isinstance(code, int) and isinstance(reason, str), "c[code,reason]")
            case other:
                raise ProtocolError(f"no frame of SockJS begins with {other!r}")
        return 0

    async def _stomp(self, text: str) -> None:
        must(text.endswith("\0"), "a frame without NUL")
        head, _, body = text[:-1].partition("\n\n")
        command, *lines = head.split("\n")
        headers = dict(line.split(":", 1) for line in lines)
        match command:
            case "CONNECTED":
                must(headers["version"] in ("1.1", "1.2"), "which version of STOMP?")
                must(headers["heart-beat"] == "0,0", "the worker would expect heartbeats")
                for topic in self._wanted:
                    await self._subscribe(topic)
                self._up.set()
            case "MESSAGE":
                await self._message(headers, body)
            case "ERROR":
                raise ProtocolError(f"ERROR: {headers.get('message')}")
            case other:
                raise ProtocolError(f"a scheduler does not send {other}")

    async def _message(self, headers: dict[str, str], body: str) -> None:
        must(headers.get("content-type", "application/json") == "application/json", "a kind")
        must(int(headers["content-length"]) == len(body.encode()), "content-length")
        must(headers["message-id"], "no message-id")
        topic = self._topics.get(headers["subscription"])
        if topic is None:
            return  # it was unsubscribed meanwhile
        must(topic == headers["destination"].replace("\\c", ":"), "of another topic")
        self.received.append(body)
        await self.heard(body)

    async def _subscribe(self, destination: str) -> None:
        id = str(self._number)
        self._number += 1
        self._topics[id] = destination
        await self._send(f"SUBSCRIBE\nid:{id}\ndestination:{destination}\n\n\0")

    async def _send(self, frame: str) -> None:
        assert self._http is not None
        answer = await self._http.post(f"{self._place}/xhr_send", json=[frame])
        must(answer.status_code == 204, f"xhr_send says {answer.status_code}: {answer.text}")
