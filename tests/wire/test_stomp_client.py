"""The client's end of the notification channel, before our own server and before odd ones."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from websockets import http11
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websocket

from tallystick.engine.errors import Unavailable
from tallystick.poco.values import Address, TaskId
from tallystick.scheduler.channel.notice import REVEAL, Notice
from tallystick.scheduler.channel.switch import Switch
from tallystick.scheduler.channel.transports import Transports
from tallystick.wire import serving, sockjs, sockjs_client, stomp_client
from tallystick.wire.scheduler import SchedulerClient
from tallystick.wire.sockjs_client import SessionOver, _Frames
from tallystick.wire.stomp import BadFrame, Frame, Reader, message
from tallystick.wire.stomp_client import Channel, _our_beat, _Talk
from tallystick.wire.v9 import topic
from tallystick.worker.doctor import _channel

pytestmark = pytest.mark.anyio

TASK = TaskId(b"\x07" * 32)
HERE = topic(TASK)
PATIENCE = 60.0
CONNECTED = Frame("CONNECTED", {"version": "1.2", "heart-beat": "0,0"}).encoded()


@pytest.fixture
def anyio_backend() -> str:
    """The servers are uvicorn's."""
    return "asyncio"


@asynccontextmanager
async def served(app: Starlette, *, websocket: bool = False) -> AsyncIterator[str]:
    serve = partial(serving.serve, websocket=websocket)
    with serving.listen("127.0.0.1", 0) as sock:
        async with anyio.create_task_group() as tasks:
            await tasks.start(serve, app, sock)
            yield f"http://127.0.0.1:{sock.getsockname()[1]}/connect"
            tasks.cancel_scope.cancel()


@dataclass
class Ear:
    """Everything that a channel hears, and somebody who waits for it."""

    heard: list[tuple[str, str]] = field(default_factory=list)
    _news: anyio.Event = field(default_factory=anyio.Event)

    async def hear(self, place: str, body: str) -> None:
        self.heard.append((place, body))
        self._news.set()

    async def until(self, count: int) -> None:
        with anyio.fail_after(PATIENCE):
            while len(self.heard) < count:
                self._news = anyio.Event()
                await self._news.wait()


@asynccontextmanager
async def channel(url: str, *, silence: float = 20.0) -> AsyncIterator[tuple[Channel, Ear]]:
    ear = Ear()
    kept = Channel(url, ear.hear, silence=silence)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(kept.keep)
        yield kept, ear
        tasks.cancel_scope.cancel()


class Books:
    """One reveal is owed to everybody, from some moment on."""

    owes = False

    def unended(self, worker: Address) -> tuple[()]:
        return ()

    def owed(self, task: TaskId) -> list[Notice]:
        return [Notice(REVEAL, Address(b"\x01" * 20))] if self.owes else []

    def written(self, task: TaskId, word: str, workers: object, cause: str) -> str:
        return json.dumps([str(task), word])


@pytest.mark.parametrize("websocket", [False, True])
async def test_our_own_server(websocket: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sockjs, "HEARTBEAT_SECONDS", 0.2)
    books = Books()
    switch = Switch(books)
    app = Starlette(routes=[Mount("/connect", app=Transports(switch, websocket=websocket))])
    async with served(app, websocket=websocket) as url, channel(url) as (kept, ear):
        kept.follow(HERE)
        assert await kept.followed(HERE, PATIENCE)
        with anyio.fail_after(PATIENCE):
            while not switch._followers:  # noqa: ASYNC110 (another task's)
                await anyio.sleep(0.01)
        books.owes = True  # what is owed at once is told a moment later
        await ear.until(1)
        assert ear.heard[0] == (HERE, json.dumps([str(TASK), REVEAL]))
        kept.follow_only(set())
        with anyio.fail_after(PATIENCE):
            while switch._followers:  # noqa: ASYNC110 (another task's)
                await anyio.sleep(0.01)
        assert kept.sessions == 1


@dataclass
class Odd:
    """A SockJS server that is told what to do in each of its answers."""

    answers: Callable[[int], list[str | float]]
    """Frames, and pauses in seconds, of the answer with this number; then it ends."""
    websocket: bool = False
    refuses: tuple[str, ...] = ()
    """Transports that it does not have."""
    sends: int = 204
    """What it answers to what is sent."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Session and transport of every request to receive."""
    sent: list[Frame] = field(default_factory=list)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/connect/info", self._info),
                Route("/connect/{server}/{session}/{how}", self._receive, methods=["POST"]),
            ]
        )

    async def _info(self, request: Request) -> Response:
        return JSONResponse({"websocket": self.websocket})

    async def _receive(self, request: Request) -> Response:
        how, session = request.path_params["how"], request.path_params["session"]
        if how == "xhr_send":
            for text in json.loads(await request.body()):
                self.sent += Reader().frames(text)
            return Response(status_code=self.sends)
        self.asked.append((session, how))
        if how in self.refuses:
            return Response(status_code=404)
        frames = self.answers(len(self.asked) - 1)
        return StreamingResponse(self._stream(frames, prelude=how == "xhr_streaming"))

    async def _stream(
        self, frames: list[str | float], *, prelude: bool
    ) -> AsyncIterator[bytes]:
        if prelude:
            yield b"h" * 2048 + b"\n"
        for each in frames:
            if isinstance(each, float):
                await anyio.sleep(each)
            else:
                yield each.encode() + b"\n"

    @property
    def sessions(self) -> int:
        return len({session for session, _ in self.asked})


def said(body: str, subscription: str = "0") -> str:
    frame = message(topic=HERE, subscription=subscription, number="1", body=body)
    return "a" + json.dumps([frame.encoded()])


HELLO = "a" + json.dumps([CONNECTED])


async def test_an_answer_that_ends_is_asked_for_again():
    """It is one session, however many answers it takes, and a message may be cut in two."""
    frame = message(topic=HERE, subscription="0", number="2", body='"two"').encoded()
    parts = [["o", HELLO], ["h"], [said('"one"')], ["a" + json.dumps([frame[:9]])]]
    parts += [["a" + json.dumps([frame[9:]])]]

    def answers(number: int) -> list[str | float]:
        return [*parts[number]] if number < len(parts) else ["h", 30.0]

    odd = Odd(answers)
    async with served(odd.app()) as url, channel(url) as (kept, ear):
        kept.follow(HERE)
        await ear.until(2)
        assert [body for _, body in ear.heard] == ['"one"', '"two"']
        assert (odd.sessions, kept.sessions) == (1, 1)
        assert odd.sent[0].headers["accept-version"] == "1.1,1.2"
        assert "host" not in odd.sent[0].headers


ENDS = {
    "a second o": ["o", HELLO, "o"],
    "closed": ["o", HELLO, 'c[3000,"Go away!"]'],
    "closed oddly": ["o", HELLO, "c"],
    "silent": ["o", HELLO, 60.0],
    "an error": ["o", HELLO, "a" + json.dumps([Frame("ERROR", {"message": "no"}).encoded()])],
    "no STOMP": ["o", HELLO, 'a["\\u0000nonsense\\u0000"]'],
    "no list": ["o", HELLO, "a{}"],
    "no SockJS": ["o", HELLO, "<html>"],
    "no end": ["o", HELLO, "x" * (sockjs_client.LONGEST_FRAME + 10)],
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
async def test_a_session_that_is_over_is_followed_by_another(end: list[str | float]):
    """What was followed is followed again, in a session of another name."""

    def answers(number: int) -> list[str | float]:
        return end if number == 0 else ["o", HELLO, 0.2, said('"after"'), 30.0]

    odd = Odd(answers)
    async with served(odd.app()) as url, channel(url, silence=1.0) as (kept, ear):
        kept.follow(HERE)
        await ear.until(1)
        assert ear.heard[0] == (HERE, '"after"')
        assert odd.sessions >= 2
        topics = [f.headers["destination"] for f in odd.sent if f.command == "SUBSCRIBE"]
        assert HERE in topics


async def test_what_cannot_be_sent_ends_the_session():
    odd = Odd(lambda number: ["o", HELLO, 30.0], sends=404)
    async with served(odd.app()) as url, channel(url):
        with anyio.fail_after(PATIENCE):
            while odd.sessions < 2:  # noqa: ASYNC110 (another task's)
                await anyio.sleep(0.01)


@pytest.mark.parametrize(
    ("websocket", "refuses", "used"),
    [
        (True, (), "xhr_streaming"),  # announced, but nobody answers there
        (False, ("xhr_streaming",), "xhr"),
    ],
)
async def test_a_transport_that_fails_is_passed_over(
    websocket: bool, refuses: tuple[str, ...], used: str
):
    one_by_one: list[list[str | float]] = [["o"], [HELLO], [0.2, said('"here"')]]

    def answers(number: int) -> list[str | float]:
        polls = sum(how == used for _, how in odd.asked)
        if used == "xhr":
            return one_by_one[polls - 1] if polls <= len(one_by_one) else [5.0, "h"]
        return ["o", HELLO, 0.2, said('"here"'), 30.0]

    odd = Odd(answers, websocket=websocket, refuses=refuses)
    async with served(odd.app()) as url, channel(url) as (kept, ear):
        kept.follow(HERE)
        await ear.until(1)
        assert odd.asked[-1][1] == used


@asynccontextmanager
async def speaking(asked: list[str], leads_to: str = "") -> AsyncIterator[str]:
    """A bare WebSocket server that opens a session, or sends whoever asks elsewhere."""

    def answer(connection: ServerConnection, request: http11.Request) -> Any:
        asked.append(request.path)
        if not leads_to or request.path == "/good":
            return None
        answer = connection.respond(302, "")
        answer.headers["Location"] = leads_to
        return answer

    async def talk(connection: ServerConnection) -> None:
        await connection.send("o")
        await connection.wait_closed()

    async with serve_websocket(talk, "127.0.0.1", 0, process_request=answer) as server:
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/connect"


class Opened:
    """Ends a session as soon as it is there."""

    async def opened(self) -> None:
        raise SessionOver("It is open.")

    async def heard(self, message: str) -> None:
        raise AssertionError(message)


async def over_websocket(url: str) -> str:
    """How a session over WebSocket ends."""
    session = sockjs_client._OverWebSocket(url, False, PATIENCE, lambda how: None)
    with pytest.raises(SessionOver) as end:
        await session.listen(Opened())
    return str(end.value)


async def test_a_scheduler_cannot_send_a_worker_elsewhere():
    there = list[str]()
    async with speaking(there) as other:
        host = other.removeprefix("http://")
        places = [f"ws://{host}", f"//{host}", f"ws://localhost:{host.split(':')[1]}"]
        for place in places:
            async with speaking([], leads_to=place) as url:
                assert "elsewhere" in await over_websocket(url), place
        assert not there, "nobody came"
        assert await over_websocket(other) == "It is open."
        assert there


async def test_a_redirect_on_the_same_server_is_followed():
    asked = list[str]()
    async with speaking(asked, leads_to="/good") as url:
        assert await over_websocket(url) == "It is open."
    assert asked == ["/connect/websocket", "/good"]


async def test_a_server_that_is_away_is_waited_for():
    async with channel("http://127.0.0.1:9/connect") as (kept, _):
        kept.follow(HERE)
        assert not await kept.followed(HERE, 0.3)
        assert not kept.up


@pytest.mark.parametrize(
    ("told", "seconds"),
    [("0,0", 0.0), ("5000,0", 0.0), ("0,20000", 20.0), ("0,1", 10.0), ("x", 0.0), ("1,", 0.0)],
)
def test_our_heartbeats_are_as_the_server_wants_them(told: str, seconds: float):
    assert _our_beat(told) == seconds


class Silent:
    """A session into which anything may be said."""

    async def listen(self, ear: object) -> None: ...

    async def send(self, message: str) -> None: ...


def frames() -> st.SearchStrategy[str]:
    known = st.sampled_from(
        ["o", "h", "a[]", HELLO, said("{}"), "c[1]", "a[1]", "a" + "[" * 99]
    )
    return (
        known | st.text(max_size=60) | st.text(max_size=60).map(lambda t: "a" + json.dumps([t]))
    )


@given(st.lists(frames(), max_size=12))
def test_nothing_that_a_server_says_is_a_crash(told: list[str]):
    async def hear(place: str, body: str) -> None: ...

    async def run() -> None:
        taken = _Frames(_Talk(Silent(), hear))
        with suppress(SessionOver, BadFrame, Unavailable):
            for each in told:
                await taken.take(each)

    anyio.run(run)


def broken(number: int) -> list[str | float]:
    """A good conversation with something wrong in it, by number."""
    dice = Random(f"frames {number}")
    frames = ["o", HELLO, said('"one"'), "h", said('"two"')]
    for _ in range(dice.randrange(1, 4)):
        at, text = dice.randrange(len(frames)), frames[dice.randrange(len(frames))]
        cut = dice.randrange(len(text) + 1)
        noise = "".join(dice.choices('oahc[]{}"\\\0:\u00e9 ', k=dice.randrange(9)))
        frames[at] = text[:cut] + noise + text[cut + dice.randrange(3) :]
    return [*frames]


async def left_after(sessions: int) -> tuple[int, int]:
    """Tasks and open files of this process when so many sessions have gone wrong and one is
    well."""

    def answers(number: int) -> list[str | float]:
        if odd.sessions <= sessions:
            return broken(number)
        return ["o", HELLO, 0.2, said('"after"'), 300.0]

    odd = Odd(answers)
    async with served(odd.app()) as url, channel(url) as (kept, ear):
        kept.follow(HERE)
        with anyio.fail_after(PATIENCE):
            while (HERE, '"after"') not in ear.heard:
                await ear.until(len(ear.heard) + 1)
        assert kept.up
        assert len(kept._wanted) == 1
        return len(anyio.get_running_tasks()), len(os.listdir("/proc/self/fd"))


async def test_frames_that_make_no_sense_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch):
    """However many there are, the next session is as good as the first."""
    monkeypatch.setattr(stomp_client, "_PAUSES", (0.0,))
    few, many = await left_after(3), await left_after(60)
    assert all(abs(one - other) <= 5 for one, other in zip(few, many, strict=True))


async def test_doctor_finds_the_channel_of_a_v9_scheduler():
    """Such a scheduler knows nothing of our own news."""
    odd = Odd(lambda number: ["o"])
    async with served(odd.app()) as url:
        core = url.removesuffix("/connect")
        async with SchedulerClient(core, wallet=Address(b"\x01" * 20), sign=bytes) as client:
            assert "STOMP at /connect" in str(await _channel(client))
