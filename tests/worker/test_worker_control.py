"""The control socket: who may ask, what comes back, and what hostile bytes get."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio import to_thread

from tallystick.engine.errors import Refused, Unavailable
from tallystick.wire import control, remote
from tallystick.wire.control import SOCKET, Control, number, text
from tallystick.wire.remote import NoAnswer, NotRunning

pytestmark = pytest.mark.anyio


def small_control() -> Control:
    made = Control()

    async def echo(request: control.Request) -> control.Answer:
        return {"said": text(request, "word"), "times": number(request, "times", 1, most=9)}

    async def down(request: control.Request) -> control.Answer:
        raise Unavailable("The node does not answer.")

    async def no(request: control.Request) -> control.Answer:
        raise Refused("Not now.")

    async def count(request: control.Request) -> AsyncIterator[control.Answer]:
        for n in range(number(request, "to", 3, most=100)):
            yield {"n": n}

    made.on("echo", echo)
    made.on("down", down)
    made.on("no", no)
    made.on_stream("count", count)
    return made


@asynccontextmanager
async def answering(home: Path, made: Control | None = None) -> AsyncIterator[Control]:
    made = made or small_control()
    await anyio.Path(home).mkdir(parents=True, exist_ok=True)
    with control.address(home) as path:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(made.run, home)
            while not path.exists():
                await anyio.lowlevel.checkpoint()
            yield made
            tasks.cancel_scope.cancel()


async def ask(home: Path, do: str, **request: Any) -> Any:
    return await to_thread.run_sync(lambda: remote.ask(home, do, **request))


async def raw(home: Path, data: bytes) -> Any:
    async with await anyio.connect_unix(home / SOCKET) as stream:
        try:
            await stream.send(data)
            await stream.send_eof()
        except anyio.BrokenResourceError:
            pass  # it answered before it had read everything
        return json.loads(await stream.receive(1 << 16))


async def test_a_question_is_answered_and_a_refusal_is_a_sentence(tmp_path: Path):
    async with answering(tmp_path):
        assert await ask(tmp_path, "echo", word="hi") == {"said": "hi", "times": 1}
        with pytest.raises(NoAnswer, match="node does not answer"):
            await ask(tmp_path, "down")
        with pytest.raises(NoAnswer, match="Not now"):
            await ask(tmp_path, "no")
        with pytest.raises(NoAnswer, match="it can: count, down, echo, no"):
            await ask(tmp_path, "dance")


async def test_a_stream_is_followed_to_its_end(tmp_path: Path):
    async with answering(tmp_path):
        told = await to_thread.run_sync(lambda: [*remote.follow(tmp_path, "count", to=3)])
    assert [each["n"] for each in told] == [0, 1, 2]


async def test_a_stream_ends_when_the_listener_hangs_up(tmp_path: Path):
    made, ended = Control(), anyio.Event()

    async def forever(request: control.Request) -> AsyncIterator[control.Answer]:
        try:
            yield {"n": 1}
            await anyio.sleep_forever()
        finally:
            ended.set()

    made.on_stream("forever", forever)
    async with answering(tmp_path, made):
        async with await anyio.connect_unix(tmp_path / SOCKET) as stream:
            await stream.send(b'{"do": "forever"}\n')
            await stream.receive()
        with anyio.fail_after(60):
            await ended.wait()


async def test_only_its_owner_can_reach_it_and_it_goes_with_the_worker(tmp_path: Path):
    async with answering(tmp_path):
        mode = (tmp_path / SOCKET).stat().st_mode
        assert stat.S_IMODE(mode) == 0o600
    assert not (tmp_path / SOCKET).exists()
    with pytest.raises(NotRunning, match=str(tmp_path)):
        remote.ask(tmp_path, "echo")


async def test_another_user_is_not_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with answering(tmp_path):
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
        monkeypatch.setattr(control.struct, "unpack", lambda *_: (1, 777, 1))
        with pytest.raises(NoAnswer, match="Only the user who runs"):
            await ask(tmp_path, "echo")


async def test_a_socket_left_by_a_killed_worker_is_replaced(tmp_path: Path):
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / SOCKET))
    dead.close()
    with pytest.raises(NotRunning):
        remote.ask(tmp_path, "echo")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(small_control().run, tmp_path)
        with anyio.fail_after(60):
            while True:
                try:
                    assert await ask(tmp_path, "echo") == {"said": "", "times": 1}
                    break
                except NotRunning:
                    await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()


async def test_a_file_in_its_place_is_not_removed(tmp_path: Path):
    (tmp_path / SOCKET).write_text("precious")
    with pytest.raises(control.Occupied, match="not a socket"):
        await small_control().run(tmp_path)
    assert (tmp_path / SOCKET).read_text() == "precious"


async def test_a_folder_with_a_very_long_path_works(tmp_path: Path):
    home = tmp_path / ("d" * 120)
    async with answering(home):
        assert (await ask(home, "echo", word="far"))["said"] == "far"
        assert (home / SOCKET).is_socket()


@pytest.mark.parametrize(
    "hostile",
    [
        b"\n",
        b"not json\n",
        b"[]\n",
        b"{}\n",
        b'{"do": 7}\n',
        b'{"do": "echo", "word": 7}\n',
        b'{"do": "echo", "times": true}\n',
        b'{"do": "echo", "times": -1}\n',
        b'{"do": "echo", "times": 1e99}\n',
        b'{"do": "echo", "word": "' + b"x" * 300 + b'"}\n',
        b"[" * 16_000 + b"\n",
        b"\xff\xfe\x00\n",
        b"x" * 100_000,
        b'{"do": "echo"}',
        b'{"do": "' + b"y" * 3000 + b'"}\n',
    ],
)
async def test_hostile_bytes_get_a_sentence_and_others_are_still_answered(
    tmp_path: Path, hostile: bytes
):
    async with answering(tmp_path):
        told = await raw(tmp_path, hostile)
        assert set(told) == {"error"}
        assert len(told["error"]) < 300
        assert (await ask(tmp_path, "echo", word="still"))["said"] == "still"


async def test_a_crowd_is_sent_away_and_room_is_made_again(tmp_path: Path):
    async with answering(tmp_path):
        idle = [await anyio.connect_unix(tmp_path / SOCKET) for _ in range(control._CROWD)]
        with pytest.raises(NoAnswer, match="Too many"):
            await ask(tmp_path, "echo")
        for each in idle:
            await each.aclose()
        with anyio.fail_after(60):
            while True:
                try:
                    assert (await ask(tmp_path, "echo"))["times"] == 1
                    break
                except NoAnswer:
                    await anyio.lowlevel.checkpoint()
