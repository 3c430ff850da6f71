"""Requests to a daemon may be given up at any moment, and nothing breaks."""

from __future__ import annotations

import asyncio
from pathlib import Path

import anyio
import anyio.lowlevel
import httpx2
import pytest

from tallystick.execution.unix_socket import UnixTransport

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_an_answer_that_comes_as_it_is_given_up_breaks_nothing(tmp_path: Path) -> None:
    """The client's own sockets raise here, in the event loop, where nobody can catch it."""
    path, troubles = str(tmp_path / "s"), list[str]()
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: troubles.append(str(context["message"]))
    )
    send, asked = anyio.create_memory_object_stream[asyncio.StreamWriter](9)

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        send.send_nowait(writer)

    server = await asyncio.start_unix_server(hear, path)
    async with httpx2.AsyncClient(transport=UnixTransport(path), base_url="http://d") as client:
        async with anyio.create_task_group() as group:
            group.start_soon(client.get, "/")
            peer = await asked.receive()
            # The loop sees the answer, but what it does first is to give it up.
            peer.write(ANSWER)
            asyncio.get_running_loop().call_soon(group.cancel_scope.cancel)
            await anyio.sleep_forever()
        await anyio.lowlevel.checkpoint()
        peer.close()
        async with anyio.create_task_group() as group:

            async def ask() -> None:
                answers.append((await client.get("/")).text)

            answers = list[str]()
            group.start_soon(ask)
            peer = await asked.receive()
            peer.write(ANSWER)
    peer.close()
    send.close()
    asked.close()
    server.close()
    await server.wait_closed()
    assert answers == ["ok"]
    assert troubles == []


@pytest.mark.anyio
async def test_a_daemon_that_is_not_there_is_a_connection_error(tmp_path: Path) -> None:
    async with httpx2.AsyncClient(transport=UnixTransport(str(tmp_path / "no"))) as client:
        with pytest.raises(httpx2.ConnectError):
            await client.get("http://d/")
