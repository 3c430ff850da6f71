"""The channel of the v9 workers, from outside: STOMP in SockJS, by HTTP and by WebSocket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any
from urllib.parse import quote

import anyio
import httpx2
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scheduler_office import NOW, Office, ref
from websockets.asyncio.client import connect

from tallystick.lifecycle.facts import (
    Assigned,
    Began,
    ConsensusReached,
    Contributed,
    Finalized,
    Revealed,
    Step,
    UploadRequested,
)
from tallystick.poco.values import Digest, Hash, TaskId
from tallystick.scheduler.channel import sessions as limits
from tallystick.scheduler.channel import talk
from tallystick.scheduler.channel.transports import Transports
from tallystick.wire import serving, sockjs
from tallystick.wire.stomp import Frame, Reader

pytestmark = pytest.mark.anyio

CONNECT = "CONNECT\naccept-version:1.1,1.2\nheart-beat:10000,10000\n\n\0"
VOTE, OTHER = Hash(b"\x07" * 32), Hash(b"\x08" * 32)


@asynccontextmanager
async def served(app: FastAPI, *, websocket: bool = False) -> AsyncIterator[str]:
    serve = partial(serving.serve, websocket=websocket)
    with serving.listen("127.0.0.1", 0) as sock:
        async with anyio.create_task_group() as tasks:
            await tasks.start(serve, app, sock)
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
            tasks.cancel_scope.cancel()


class Listener:
    """A client that receives by streaming."""

    def __init__(self, http: httpx2.AsyncClient, session: str) -> None:
        self.http, self.path = http, f"/connect/007/{session}"
        self.lines: list[str] = []
        self.frames: list[Frame] = []
        self.prelude = 0
        self._news, self._reader = anyio.Event(), Reader()

    async def receive(self) -> None:
        async with self.http.stream("POST", f"{self.path}/xhr_streaming") as answer:
            assert answer.headers["content-type"] == "application/javascript;charset=UTF-8"
            async for line in answer.aiter_lines():
                if line == "h" * 2048:
                    self.prelude += 1
                    continue
                self.lines.append(line)
                for text in json.loads(line[1:]) if line.startswith("a") else ():
                    self.frames += self._reader.frames(text)
                self._news.set()
                self._news = anyio.Event()

    async def send(self, *messages: str) -> None:
        answer = await self.http.post(f"{self.path}/xhr_send", json=list(messages))
        assert (answer.status_code, answer.content) == (204, b"")

    async def until(self, met: Any) -> None:
        with anyio.fail_after(60):
            while not met():
                await self._news.wait()

    async def follow(self, task: TaskId, id: str = "0") -> None:
        await self.send(f"SUBSCRIBE\nid:{id}\ndestination:/topic/task/{task}\n\n\0")

    def told(self) -> list[dict[str, Any]]:
        return [json.loads(f.body) for f in self.frames if f.command == "MESSAGE"]


@asynccontextmanager
async def listening(url: str, session: str = "s1") -> AsyncIterator[Listener]:
    async with (
        httpx2.AsyncClient(base_url=url, timeout=60) as http,
        anyio.create_task_group() as tasks,
    ):
        listener = Listener(http, session)
        tasks.start_soon(listener.receive)
        await listener.until(lambda: listener.lines)
        assert listener.lines == ["o"]
        await listener.send(CONNECT)
        await listener.until(lambda: listener.frames)
        yield listener
        tasks.cancel_scope.cancel()


def voted(office: Office, *wallets: int) -> TaskId:
    """A task of which these have votes, all the same but the last one's."""
    task = office.buy()
    office.open(task)
    for number in wallets:
        me = office.wallet(number).address
        office.pool.engine.record(str(task), Assigned(me, 2))
        vote = VOTE if number != wallets[-1] or len(wallets) == 1 else OTHER
        office.pool.engine.record(str(task), Contributed(me, vote, 2), ref(3, number))
    return task


def agree(office: Office, task: TaskId, block: int = 77) -> None:
    office.pool.engine.record(str(task), ConsensusReached(VOTE, NOW + 600), ref(block, 9))


async def test_what_the_endpoint_says_of_itself(office: Office):
    answer = await office.http.get("/connect/info")
    assert answer.headers["content-type"] == "application/json;charset=UTF-8"
    assert "no-store" in answer.headers["cache-control"]
    told = answer.json()
    assert set(told) == {"entropy", "origins", "cookie_needed", "websocket"}
    assert (told["origins"], told["cookie_needed"]) == (["*:*"], True)
    assert '"websocket": false' in answer.text, "v9 workers would try it first"


@pytest.mark.parametrize(
    ("verb", "path", "status"),
    [
        ("OPTIONS", "/connect/info", 204),
        ("POST", "/connect/info", 405),
        ("GET", "/connect/1/a/xhr_send", 405),
        ("OPTIONS", "/connect/1/a/xhr", 204),
        ("POST", "/connect/1/a/eventsource", 404),
        ("POST", "/connect/1/a.b/xhr", 404),
        ("GET", "/connect/1/a/info", 404),
        ("GET", "/connect/websocket", 404),
        ("GET", "/connect/", 404),
    ],
)
async def test_other_requests_are_refused(office: Office, verb: str, path: str, status: int):
    answer = await office.http.request(verb, path)
    assert answer.status_code == status
    if status == 405:
        assert answer.headers["allow"] in ("GET", "POST")


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 500, "Payload expected."),
        (b"[", 500, "Broken JSON encoding."),
        (b"[1]", 500, "Broken JSON encoding."),
        (b'["a"]', 404, ""),
    ],
)
async def test_what_cannot_be_delivered(office: Office, body: bytes, status: int, said: str):
    answer = await office.http.post("/connect/1/nobody/xhr_send", content=body)
    assert (answer.status_code, answer.text) == (status, said)


async def test_pages_of_other_sites_are_refused(office: Office):
    headers = {"origin": "https://evil.example"}
    assert (await office.http.get("/connect/info", headers=headers)).status_code == 403


async def test_a_v9_worker_connects_and_hears_its_tasks(office: Office):
    """The winner is to reveal, in the block of the consensus; the loser is to stop; then the
    uploader is told, and everybody at the end. Nobody is told twice."""
    task = voted(office, 0, 1, 2)
    winner, loser = office.wallet(0).address, office.wallet(2).address
    record = lambda fact, *where: office.pool.engine.record(str(task), fact, *where)  # noqa: E731
    async with served(office.app) as url, listening(url) as worker:
        assert worker.prelude == 1
        (connected,) = worker.frames
        assert connected.headers == {"version": "1.2", "heart-beat": "0,0"}
        await worker.follow(task)
        agree(office, task)
        await worker.until(lambda: len(worker.told()) == 2)
        reveal, abort = worker.told()
        assert reveal == {
            "chainTaskId": str(task),
            "workersAddress": [str(winner), str(office.wallet(1).address)],
            "taskNotificationType": "PLEASE_REVEAL",
            "taskNotificationExtra": {
                "workerpoolAuthorization": None,
                "smsUrl": None,
                "blockNumber": 77,
                "taskAbortCause": None,
            },
        }
        assert abort["workersAddress"] == [str(loser)]
        assert abort["taskNotificationType"] == "PLEASE_ABORT"
        assert abort["taskNotificationExtra"]["taskAbortCause"] == "CONSENSUS_REACHED"
        headers = worker.frames[-1].headers
        assert headers["destination"] == f"/topic/task/{task}"
        assert (headers["subscription"], headers["content-type"]) == ("0", "application/json")
        record(Began(winner, Step.REVEAL))
        for number in (0, 1):
            me = office.wallet(number).address
            record(Revealed(me, Digest(b"\x01" * 32)), ref(78, number))
        record(UploadRequested(winner, NOW + 120))
        await worker.until(lambda: len(worker.told()) == 3)
        assert worker.told()[2]["taskNotificationType"] == "PLEASE_UPLOAD"
        assert worker.told()[2]["workersAddress"] == [str(winner)]
        assert worker.told()[2]["taskNotificationExtra"] is None
        record(Finalized("{}"), ref(80, 1))
        await worker.until(lambda: len(worker.told()) == 4)
        assert worker.told()[3]["taskNotificationType"] == "PLEASE_COMPLETE"
        assert worker.told()[3]["workersAddress"] == []


async def test_who_comes_too_late_is_told_what_is_still_owed(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    """A notification that was published while nobody listened is not lost; who has begun
    meanwhile is not asked again."""
    monkeypatch.setattr(talk, "GRACE", 0.0)
    task = voted(office, 0, 1, 2)
    agree(office, task)
    office.pool.engine.record(str(task), Began(office.wallet(0).address, Step.REVEAL))
    async with served(office.app) as url, listening(url) as worker:
        await worker.follow(task)
        await worker.until(lambda: len(worker.told()) == 2)
        told = {each["taskNotificationType"]: each for each in worker.told()}
        assert told["PLEASE_REVEAL"]["workersAddress"] == [str(office.wallet(1).address)]


async def test_what_is_not_answered_is_told_again(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(talk, "REMIND", 0.0)
    monkeypatch.setattr(sockjs, "HEARTBEAT_SECONDS", 0.05)
    task = voted(office, 0)
    async with served(office.app) as url, listening(url) as worker:
        await worker.follow(task)
        agree(office, task)
        await worker.until(lambda: len(worker.told()) >= 3)
        assert {each["taskNotificationType"] for each in worker.told()} == {"PLEASE_REVEAL"}


async def test_a_deadline_that_passes_is_told_without_any_fact(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sockjs, "HEARTBEAT_SECONDS", 0.05)
    task = voted(office, 0)
    async with served(office.app) as url, listening(url) as worker:
        await worker.follow(task)
        office.pool.clock.saw(NOW + 7 * 300)
        await worker.until(worker.told)
        (abort, *_) = worker.told()
        assert abort["taskNotificationExtra"]["taskAbortCause"] == "CONTRIBUTION_TIMEOUT"


async def test_a_stream_ends_after_enough_and_goes_on(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    """128 KiB, then the client asks again: the session is the same, with another prelude."""
    monkeypatch.setattr(sockjs, "HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(sockjs, "STREAM_BYTES", 20)
    async with served(office.app) as url, httpx2.AsyncClient(base_url=url) as http:
        worker = Listener(http, "again")
        with anyio.fail_after(60):
            await worker.receive()
            await worker.receive()
        assert worker.prelude == 2
        assert worker.lines[0] == "o"
        assert set(worker.lines[1:]) == {"h"}


async def test_polling_gives_a_frame_each_time(office: Office):
    async with served(office.app) as url, httpx2.AsyncClient(base_url=url) as http:
        place = "/connect/1/poller"
        assert (await http.post(f"{place}/xhr")).text == "o\n"
        assert (await http.post(f"{place}/xhr_send", json=[CONNECT])).status_code == 204
        frame = (await http.post(f"{place}/xhr")).text
        assert frame.startswith('a["CONNECTED\\nversion:1.2\\nheart-beat:0,0\\n\\n\\u0000"]')


async def test_a_second_receiver_is_refused(office: Office):
    async with served(office.app) as url, listening(url, "mine") as worker:
        answer = await worker.http.post("/connect/1/mine/xhr_streaming")
        assert answer.text.endswith('c[2010,"Another connection still open"]\n')


async def test_who_stays_away_is_forgotten(office: Office, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sockjs, "REJOIN_SECONDS", 0.0)
    async with served(office.app) as url, httpx2.AsyncClient(base_url=url) as http:
        assert (await http.post("/connect/1/gone/xhr")).text == "o\n"
        assert (await http.post("/connect/1/gone/xhr_send", json=["\n"])).status_code == 404
        assert (await http.post("/connect/1/gone/xhr")).text == "o\n", "a new session"


async def test_there_are_only_so_many_sessions(office: Office, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "MOST", 2)
    async with served(office.app) as url, httpx2.AsyncClient(base_url=url) as http:
        status = [(await http.post(f"/connect/1/{n}/xhr")).status_code for n in range(3)]
        assert status == [200, 200, 503]


async def test_one_address_has_only_so_many(office: Office, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "MOST_AN_ADDRESS", 1)
    known = limits.Sessions()
    known.open("a", "203.0.113.9")
    known.open("b", "")
    known.open("c", "")
    with pytest.raises(limits.Full):
        known.open("d", "203.0.113.9")


async def test_who_never_connects_is_dismissed(office: Office, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(talk, "FIRST_FRAME", 0.0)
    async with served(office.app) as url, httpx2.AsyncClient(base_url=url) as http:
        worker = Listener(http, "silent")
        with anyio.fail_after(60):
            await worker.receive()
        assert worker.lines == ["o", 'c[3000,"Go away!"]']


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("SEND\ndestination:/topic/task/0x1\n\nPLEASE_ABORT\0", "Only the scheduler speaks"),
        ("SUBSCRIBE\nid:0\ndestination:/topic/everything\n\n\0", "/topic/task/"),
        ("SUBSCRIBE\ndestination:/topic/task/0x" + "0" * 64 + "\n\n\0", "an id"),
        (CONNECT, "connected already"),
        ("nonsense\n\n\0", "begins with its command"),
        ("HELLO\n\n\0", "no command"),
        ("SUBSCRIBE\n\n" + "x" * 70_000, "more than 65536"),
    ],
)
async def test_what_is_not_taken_ends_the_session(office: Office, said: str, why: str):
    async with served(office.app) as url, listening(url) as worker:
        await worker.send(said)
        await worker.until(lambda: worker.lines[-1].startswith("c"))
        assert worker.frames[-1].command == "ERROR"
        assert why in worker.frames[-1].headers["message"]
        assert worker.lines[-1] == 'c[1002,""]'
        assert len(office.app.state.channel.sessions) <= 1


async def test_nothing_is_said_before_connecting(office: Office):
    async with served(office.app) as url, httpx2.AsyncClient(base_url=url) as http:
        assert (await http.post("/connect/1/x/xhr")).text == "o\n"
        await http.post("/connect/1/x/xhr_send", json=["SUBSCRIBE\nid:1\n\n\0"])
        assert "CONNECT first" in (await http.post("/connect/1/x/xhr")).text


async def test_a_goodbye_has_a_receipt(office: Office):
    async with served(office.app) as url, listening(url) as worker:
        await worker.send("DISCONNECT\nreceipt:9\n\n\0")
        await worker.until(lambda: worker.lines[-1].startswith("c"))
        assert worker.frames[-1] == Frame("RECEIPT", {"receipt-id": "9"})
        assert worker.lines[-1] == 'c[3000,"Go away!"]'


async def test_unsubscribed_is_not_told(office: Office):
    task, other = voted(office, 0), office.buy(2)
    office.open(other)
    async with served(office.app) as url, listening(url) as worker:
        await worker.follow(task, "a")
        await worker.follow(task, "b")
        await worker.send("UNSUBSCRIBE\nid:a\n\n\0")
        agree(office, task)
        await worker.until(worker.told)
        assert worker.frames[-1].headers["subscription"] == "b"
        assert len(worker.told()) == 1


async def test_the_end_of_the_scheduler_ends_sessions(office: Office):
    async with served(office.app) as url, listening(url) as worker:
        office.app.state.channel.close()
        await worker.until(lambda: worker.lines[-1] == 'c[3000,"Go away!"]')


async def test_websocket_where_it_is_offered(office: Office):
    task = voted(office, 0)
    replaced = Transports(office.app.state.channel, websocket=True)
    (mount,) = [r for r in office.app.router.routes if getattr(r, "path", "") == "/connect"]
    mount.app = replaced
    async with served(office.app, websocket=True) as url:
        async with httpx2.AsyncClient(base_url=url) as http:
            assert (await http.get("/connect/info")).json()["websocket"]
        place = url.replace("http", "ws") + "/connect/1/ws1/websocket"
        async with connect(place) as socket:
            assert await socket.recv() == "o"
            await socket.send(json.dumps([CONNECT]))
            assert "CONNECTED" in str(await socket.recv())
            subscribe = f"SUBSCRIBE\nid:0\ndestination:/topic/task/{task}\n\n\0"
            await socket.send(json.dumps([subscribe, "\n"]))
            with anyio.fail_after(60):
                while not office.app.state.channel._followers:
                    await anyio.lowlevel.checkpoint()
            agree(office, task)
            told = ""
            with anyio.fail_after(60):
                while "PLEASE_REVEAL" not in told:
                    told = str(await socket.recv())
            await socket.send("[")
            with anyio.fail_after(60):
                while not told.startswith("c"):
                    told = str(await socket.recv())
            assert told == 'c[1002,""]'
    assert len(office.app.state.channel.sessions) == 0


async def test_websocket_is_refused_where_it_is_not(office: Office):
    async with served(office.app, websocket=True) as url:
        place = url.replace("http", "ws") + "/connect/1/ws1/websocket"
        with pytest.raises(Exception, match="403"):
            await connect(place)


COMMANDS = st.sampled_from(["CONNECT", "SUBSCRIBE", "UNSUBSCRIBE", "SEND", "ACK", "DISCONNECT"])
NOISE = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
FRAMES = st.builds(
    lambda command, headers, body: (
        "\n".join([command, *(f"{k}:{v}" for k, v in headers), "", body]) + "\0"
    ),
    COMMANDS,
    st.lists(
        st.tuples(
            st.sampled_from(["id", "destination", "accept-version", "receipt", "x"]),
            st.sampled_from(["1.2", "/topic/task/0x" + "ab" * 32, "a", "", "\\n", "\\q"])
            | NOISE,
        ),
        max_size=4,
    ),
    NOISE,
)


@given(st.lists(FRAMES | NOISE, max_size=12))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None
)
async def test_no_talk_breaks_the_channel_or_leaks(office: Office, said: list[str]):
    """Whatever is said, in whatever order: no error of ours, and nothing is left behind."""
    switch = office.app.state.channel
    session = switch.join("fuzz", "")
    assert session is not None
    with suppress(sockjs.BadPayload):
        await switch.deliver("fuzz", sockjs.sent(json.dumps(said).encode()))
    session.speaker.look()
    switch.leave(session, for_good=True)
    assert (len(switch.sessions), switch._followers) == (0, {})


async def test_a_session_follows_only_so_many_tasks(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(talk, "MOST_TOPICS", 2)
    async with served(office.app) as url, listening(url) as worker:
        for number in range(3):
            await worker.follow(TaskId(bytes([number]) * 32), str(number))
        await worker.until(lambda: worker.lines[-1].startswith("c"))
        assert "at most 2 tasks" in worker.frames[-1].headers["message"]


@given(
    st.sampled_from(["GET", "POST", "PUT", "OPTIONS", "HEAD"]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40),
    st.sampled_from(["", "/xhr_send", "/info", "/websocket", "/xhr_streaming/"]),
    st.binary(max_size=100),
)
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None
)
async def test_no_request_breaks_the_channel(
    office: Office, verb: str, path: str, how: str, body: bytes
):
    """Strange paths, verbs and bodies: refused in a word, and no session is begun by them."""
    url = "/connect/" + quote(path) + how
    answer = await office.http.request(verb, url, content=body)
    assert answer.status_code in {200, 204, 307, 400, 404, 405, 414, 500}
    if answer.status_code == 500:
        assert answer.text in ("Payload expected.", "Broken JSON encoding.")
    assert len(office.app.state.channel.sessions) == 0
