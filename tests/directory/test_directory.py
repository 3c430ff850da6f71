"""A directory of pools, most of which are up to no good."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx2
import pytest

from tallystick.directory import asking
from tallystick.directory.app import application
from tallystick.directory.board import Board
from tallystick.directory.claims import Nonsense, read_orders, read_pool, words
from tallystick.directory.listing import BadList, Listed, listed
from tallystick.wire.public import PoolFigures

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u202e\n{{7*7}}"
POOL = {
    "name": "Good pool",
    "workerpool": "0x" + "11" * 20,
    "scheduler": "0x" + "22" * 20,
    "chainId": 42161,
    "hub": "0x" + "33" * 20,
    "version": "1.2.3",
    "head": 7,
    "workers": 5,
    "workersAlive": 3,
    "slots": 8,
    "slotsBusy": 2,
    "deals": 9,
    "tasks": {"COMPLETED": 3, "FAILED": 1, "RUNNING": 2},
    "assignments": 4,
}
ORDERS = [
    {"order": {"category": "0", "workerpoolprice": "2000000000", "trust": "1"}},
    {"order": {"category": "0", "workerpoolprice": "500000000", "trust": "5"}},
    {"order": {"category": "3", "workerpoolprice": "9000000000", "trust": "1"}},
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def answer(body: object, status: str = "200 OK", more: str = "") -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {len(raw)}\r\n{more}\r\n"
    return head.encode() + raw


@asynccontextmanager
async def pool(**replies: bytes) -> AsyncIterator[str]:
    """A server that says `replies[path]` and hangs up."""
    usual = {"pool": answer(POOL), "orders": answer(ORDERS), **replies}

    async def talk(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            asked = (await stream.receive()).decode().split(" ")[1].strip("/")
            await stream.send(usual.get(asked, answer({}, "404 Not Found")))

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, talk)
        yield f"http://127.0.0.1:{port}"
        tasks.cancel_scope.cancel()


async def looked(*urls: str) -> Board:
    """A board that has asked everybody once."""
    board = Board([Listed(url) for url in urls])
    async with asking.client() as http:
        for one in board.pools:
            await board.look(http, one)
    return board


@asynccontextmanager
async def reading(board: Board) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(application(board))
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        yield http


def test_what_a_pool_of_ours_says_is_what_is_read():
    """The names are those of the scheduler's own answer."""
    names = {field.alias for field in PoolFigures.model_fields.values()}
    names |= set(PoolFigures.model_fields)
    read = {"workerpool", "chainId", "version", "workers", "workersAlive", "slots", "deals"}
    spoken = {name.replace("_", "").lower() for name in names if name}
    assert {name.lower() for name in read | {"slotsBusy", "tasks"}} <= spoken


@pytest.mark.anyio
async def test_a_pool_is_shown_with_what_it_says():
    async with pool() as good:
        board = await looked(good)
    async with reading(board) as http:
        page, told = await http.get("/"), (await http.get("/pools.json")).json()
    (one,) = told["pools"]
    assert (one["name"], one["dashboard"], one["trouble"]) == ("Good pool", f"{good}/", None)
    assert one["offers"][0] == {"category": 0, "priceNrlc": "500000000", "trust": 5}
    assert "0.5 RLC" in page.text
    assert "75 %" in page.text
    assert f'href="{good}/"' in page.text
    assert "script-src 'self'" in page.headers["content-security-policy"]


@pytest.mark.anyio
async def test_hostile_pools_break_nothing_and_are_told_apart():
    deep = b"[" * 50_000
    drip = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{"
    hostile = {
        "sends elsewhere": {
            "pool": answer("", "302 Found", "location: http://127.0.0.1:1/\r\n")
        },
        "too much": {"pool": answer(b" " * (70 << 10))},
        "too many orders": {"orders": answer(b" " * (2 << 20))},
        "packed": {"pool": answer(b"\x1f\x8b", more="content-encoding: gzip\r\n")},
        "deep": {"pool": answer(deep)},
        "no JSON": {"pool": answer(b"\xff\xfe")},
        "no HTTP": {"pool": b"SSH-2.0-OpenSSH\r\n\r\n"},
        "cut": {"pool": drip},
        "a list": {"pool": answer([])},
        "no address": {"pool": answer(POOL | {"workerpool": "0x12"})},
        "negative": {"pool": answer(POOL | {"workersAlive": -1})},
        "huge": {"pool": answer(POOL | {"workers": 10**30})},
        "no number": {"pool": answer(POOL | {"slots": float("nan")})},
        "odd orders": {"orders": answer({"order": 1})},
        "odd price": {"orders": answer([{"order": {"category": 0, "workerpoolprice": "-1"}}])},
        "more digits": {
            "pool": answer(json.dumps(POOL).replace("42161", "9" * 6_000).encode())
        },
    }
    async with pool() as good, _all([pool(**each) for each in hostile.values()]) as bad:
        board = await looked(good, *bad, "http://127.0.0.1:9")
        assert [each.trouble == "" for each in board.entries].count(True) == 1
        assert board.entries[0].listed.url == good
        troubles = {each.listed.url: each.trouble for each in board.entries}
        assert "with 302" in troubles[bad[0]]
        assert "more than 65,536 bytes" in troubles[bad[1]]
        assert "more than 1,048,576" in troubles[bad[2]]
        assert "packed" in troubles[bad[3]]
        async with reading(board) as http:
            page = await http.get("/")
            told = (await http.get("/pools.json")).json()["pools"]
    assert page.status_code == 200
    assert f"1 of {len(hostile) + 2}" in page.text
    assert len(told) == len(hostile) + 2
    assert all(each["trouble"] for each in told[1:])


@asynccontextmanager
async def _all(servers) -> AsyncIterator[list[str]]:
    from contextlib import AsyncExitStack

    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(each) for each in servers]


@pytest.mark.anyio
async def test_who_drips_is_given_up(monkeypatch):
    monkeypatch.setattr(asking, "PATIENCE", 0.2)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)

    async def mute(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await anyio.sleep_forever()

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, mute)
        board = await looked(f"http://127.0.0.1:{port}")
        tasks.cancel_scope.cancel()
    assert "does not answer within" in board.entries[0].trouble


@pytest.mark.anyio
async def test_hostile_words_are_only_words():
    hostile = POOL | {"name": EVIL * 9, "version": EVIL}
    async with pool(pool=answer(hostile)) as bad:
        board = await looked(bad)
        async with reading(board) as http:
            page = await http.get("/")
    assert "<script>alert" not in page.text
    assert "<img" not in page.text
    assert "\u202e" not in page.text
    assert "49" not in words(EVIL)
    assert len(words("x" * 10_000)) == 81


@pytest.mark.anyio
async def test_what_was_known_stays_with_its_age():
    async with pool() as good:
        board = await looked(good)
        known = board.entries[0].at
    async with asking.client() as http:
        await board.look(http, board.pools[0])
    (entry,) = board.entries
    assert entry.trouble.startswith("cannot be reached")
    assert (entry.at, entry.claims is not None) == (known, True)
    async with reading(board) as http:
        page = await http.get("/")
    assert "no answer" in page.text
    assert "<time" in page.text


@pytest.mark.anyio
async def test_two_that_claim_to_be_one_pool_are_marked():
    async with pool() as one, pool() as two, pool(pool=answer(POOL | {"chainId": 1})) as three:
        board = await looked(one, two, three)
    async with reading(board) as http:
        told = (await http.get("/pools.json")).json()["pools"]
        assert (await http.get("/")).text.count(">disputed<") == 2
    assert {each["schedulerUrl"]: each["disputed"] for each in told} == {
        one: True,
        two: True,
        three: False,
    }


def test_nonsense_is_named():
    with pytest.raises(Nonsense, match="chainId is 'True'"):
        read_pool(POOL | {"chainId": True})
    with pytest.raises(Nonsense, match="no list"):
        read_orders({})
    assert read_orders([]) == ()
    assert read_pool(POOL | {"tasks": {}}).success is None


def test_a_list_is_read_from_words_and_a_file(tmp_path: Path):
    file = tmp_path / "pools"
    file.write_text("# ours\nhttps://a.example/  The first pool  # good\n\nhttp://b.example\n")
    assert listed(["http://b.example/"], file) == (
        Listed("http://b.example"),
        Listed("https://a.example", "The first pool"),
    )
    for wrong in (
        "ftp://a",
        "a.example",
        "http://",
        "http://u:p@a",
        "http://a?x",
        "http://a:0",
    ):
        with pytest.raises(BadList, match="no address of a scheduler"):
            listed([wrong])
    file.write_text("http://a\njavascript:alert(1)\n")
    with pytest.raises(BadList, match="Line 2 of"):
        listed([], file)
    with pytest.raises(BadList, match="needs the address"):
        listed([])
    with pytest.raises(BadList, match="cannot be read"):
        listed([], tmp_path / "none")


@pytest.mark.anyio
async def test_the_command_serves_it():
    async with pool() as good:
        command = ("pools", "serve", "--pool", good, "--port", "0")
        process = await anyio.open_process(
            [sys.executable, "-m", "tallystick", *command], stderr=subprocess.STDOUT
        )
        async with process:
            try:
                with anyio.fail_after(120):
                    url = await _url(process)
                    async with httpx2.AsyncClient(base_url=url, trust_env=False) as http:
                        await _until_known(http)
            finally:
                process.terminate()


async def _url(process: anyio.abc.Process) -> str:
    said = ""
    while "\n" not in said:
        assert process.stdout is not None
        said += (await process.stdout.receive()).decode()
    assert said.startswith("A directory of 1 pools: http://127.0.0.1:")
    return said.split()[-1]


async def _until_known(http: httpx2.AsyncClient) -> None:
    """The event stream tells when the pool has answered; nobody has to ask again and again."""
    async with http.stream("GET", "/events", timeout=120) as stream:
        async for _ in stream.aiter_lines():
            told = (await http.get("/pools.json")).json()["pools"]
            if told[0]["trouble"] is None:
                return
