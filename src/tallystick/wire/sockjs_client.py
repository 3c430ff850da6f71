"""The client's end of SockJS: sessions over a stream of HTTP, over polls, or over WebSocket.

A session is one conversation. Whatever ends it, the way to go on is a new session: nothing
that was said meanwhile is told again.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final, Protocol
from urllib.parse import urlsplit

import anyio
import httpx2
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import SecurityError, WebSocketException

from tallystick.engine.errors import Unavailable
from tallystick.engine.trust import Authority, trusting
from tallystick.wire import sockjs

SILENCE: Final = 30.0
"""Seconds without even a heartbeat after which a connection is taken for dead: v9 schedulers
send one after 5 s, the framework that they are made with after 25 s if nobody tells it."""
LONGEST_FRAME: Final = 1 << 20
"""Characters of a frame that is still read."""
_PATIENCE: Final = 10.0
"""Seconds that connecting, or sending, may take."""
_IDLE_ROUNDS: Final = 3
"""Answers without a frame, one after the other, after which there is no sense in asking."""
_NO_WEBSOCKET: Final = re.compile(r'"websocket"\s*:\s*false')

STREAM, POLL, WEBSOCKET = "xhr_streaming", "xhr", "websocket"


class SessionOver(Unavailable):
    """A session ended, for the reason that its text says."""


class Ear(Protocol):
    """Who listens to a session."""

    async def opened(self) -> None:
        """The session is there: now something may be sent."""
        ...

    async def heard(self, message: str) -> None:
        """The server said this."""
        ...


class Session(Protocol):
    """One conversation."""

    async def listen(self, ear: Ear) -> None:
        """Receive until the session is over; raises SessionOver then."""
        ...

    async def send(self, message: str) -> None:
        """Say something. Raises SessionOver."""
        ...


class Endpoint:
    """A SockJS server. Its transports are tried in the order of what they cost: one that brings
    no session is passed over the next time."""

    def __init__(self, url: str, *, ca: Authority = None, silence: float = SILENCE) -> None:
        """`silence`: seconds without a sign of life after which a session is over."""
        self.url, self._silence = url.rstrip("/"), silence
        self._trust = trusting(url, ca=ca)
        self._http = httpx2.AsyncClient(
            timeout=httpx2.Timeout(_PATIENCE, read=silence), verify=self._trust
        )
        self._passed_over: set[str] = set()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Endpoint:
        await self._stack.enter_async_context(self._http)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def session(self) -> Session:
        """A new one, not open yet. Raises Unavailable."""
        how = await self._choice()
        place = f"{self.url}/{secrets.randbelow(1000)}/{secrets.token_hex(16)}"
        if how == WEBSOCKET:
            made: Session = _OverWebSocket(place, self._trust, self._silence, self._worked)
        else:
            made = _OverHttp(self._http, place, how, self._worked)
        self._passed_over.add(how)
        return made

    def _worked(self, how: str) -> None:
        self._passed_over.discard(how)

    async def _choice(self) -> str:
        try:
            answer = await self._http.get(f"{self.url}/info")
        except (httpx2.HTTPError, httpx2.InvalidURL) as trouble:
            raise Unavailable(f"{self.url} did not answer: {_said(trouble)}.") from trouble
        if answer.status_code != 200:
            raise Unavailable(f"{self.url}/info answered {answer.status_code}.")
        may = [WEBSOCKET, STREAM, POLL]
        if _NO_WEBSOCKET.search(answer.text):
            may.remove(WEBSOCKET)
        left = [how for how in may if how not in self._passed_over]
        if not left:
            self._passed_over.clear()
        return (left or may)[0]


class _Frames:
    """What each frame means."""

    def __init__(self, ear: Ear) -> None:
        self._ear, self.open = ear, False

    async def take(self, frame: str) -> None:
        """One frame. Raises SessionOver."""
        match frame[:1]:
            case "o" if self.open:
                raise SessionOver("The server has lost the session.")
            case "o":
                self.open = True
                await self._ear.opened()
            case "a" if self.open:
                await self._all(frame)
            case "h" | "":
                pass
            case "c":
                raise SessionOver(f"The server closed the session: {sockjs.why_closed(frame)}.")
            case _:
                raise SessionOver("What the server sent is no SockJS.")

    async def _all(self, frame: str) -> None:
        try:
            messages = sockjs.received(frame)
        except sockjs.BadPayload as problem:
            raise SessionOver(f"What the server sent is no SockJS: {problem}") from problem
        for each in messages:
            await self._ear.heard(each)


class _OverHttp:
    """One answer after the other is received, each with many frames or with one."""

    def __init__(
        self, http: httpx2.AsyncClient, place: str, how: str, worked: Callable[[str], None]
    ) -> None:
        self._http, self._place, self._how, self._worked = http, place, how, worked

    async def listen(self, ear: Ear) -> None:
        """Ask again whenever an answer ends, as it does after 128 KiB."""
        frames, idle = _Frames(ear), 0
        while idle < _IDLE_ROUNDS:
            try:
                idle = 0 if await self._answer(frames) else idle + 1
            except httpx2.TimeoutException as silence:
                raise SessionOver("The server has been silent for too long.") from silence
            except httpx2.HTTPError as trouble:
                raise SessionOver(f"The connection ended: {_said(trouble)}.") from trouble
            await anyio.sleep(idle * 0.5)
        raise SessionOver("The server ends every answer without a word.")

    async def _answer(self, frames: _Frames) -> int:
        """Take what one answer brings; how many frames these were."""
        count, url = 0, f"{self._place}/{self._how}"
        async with self._http.stream("POST", url, content=b"") as answer:
            if answer.status_code != 200:
                raise SessionOver(f"The server answered {answer.status_code} to {self._how}.")
            rest = ""
            async for text in answer.aiter_text():
                *lines, rest = (rest + text).split("\n")
                if len(rest) > LONGEST_FRAME:
                    raise SessionOver(f"A frame of more than {LONGEST_FRAME} characters.")
                for line in filter(None, lines):
                    count += not line.startswith("hh")  # the prelude is no frame
                    await frames.take(line.rstrip("\r"))
                    if frames.open:
                        self._worked(self._how)
        return count

    async def send(self, message: str) -> None:
        """The server confirms each with 204, and with nothing else."""
        try:
            answer = await self._http.post(
                f"{self._place}/xhr_send",
                content=sockjs.payload([message]),
                headers={"content-type": "application/json"},
            )
        except httpx2.HTTPError as trouble:
            raise SessionOver(f"Nothing could be sent: {_said(trouble)}.") from trouble
        if answer.status_code != 204:
            raise SessionOver(f"The server answered {answer.status_code} to what was sent.")


class _Straight(connect):
    """Follows redirects on the server that was asked, as a slash that is missing; none that
    leads elsewhere, where nobody said that a worker of ours should listen."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Where to go on, or why nowhere."""
        there = super().process_redirect(exc)
        if isinstance(there, str) and urlsplit(there)[:2] != urlsplit(self.uri)[:2]:
            return SecurityError(f"it sends us elsewhere, to {there[:200]}")
        return there


class _OverWebSocket:
    """Every frame is a message of its own."""

    def __init__(
        self,
        place: str,
        trust: object,
        silence: float,
        worked: Callable[[str], None],
    ) -> None:
        self._url = "ws" + place.removeprefix("http") + "/websocket"
        self._trust, self._silence, self._worked = trust, silence, worked
        self._socket: ClientConnection | None = None

    async def listen(self, ear: Ear) -> None:
        """Connect, and receive until the server or the network ends it."""
        more = {"ssl": self._trust} if self._url.startswith("wss:") else {}
        if more.get("ssl") is False:
            more = {}
        try:
            async with _Straight(
                self._url,
                max_size=LONGEST_FRAME,
                open_timeout=_PATIENCE,
                compression=None,
                **more,  # type: ignore[arg-type] # what goes with ssl alone
            ) as self._socket:
                await self._receive(self._socket, _Frames(ear))
        except (OSError, WebSocketException) as trouble:
            raise SessionOver(f"The connection ended: {_said(trouble)}.") from trouble
        finally:
            self._socket = None

    async def _receive(self, socket: ClientConnection, frames: _Frames) -> None:
        while True:
            with anyio.move_on_after(self._silence) as patience:
                frame = await socket.recv()
            if patience.cancelled_caught:
                raise SessionOver("The server has been silent for too long.")
            if isinstance(frame, bytes):
                raise SessionOver("What the server sent is no SockJS.")
            await frames.take(frame)
            if frames.open:
                self._worked(WEBSOCKET)

    async def send(self, message: str) -> None:
        """Say something, as soon as the socket takes it."""
        if self._socket is None:
            raise SessionOver("There is no connection.")
        try:
            with anyio.fail_after(_PATIENCE):
                await self._socket.send(sockjs.payload([message]))
        except (OSError, WebSocketException, TimeoutError) as trouble:
            raise SessionOver(f"Nothing could be sent: {_said(trouble)}.") from trouble


def _said(trouble: BaseException) -> str:
    return (str(trouble) or type(trouble).__name__).rstrip(".")
