"""The load of a benchmark, as a process of its own: so it is not the scheduler that is slowed.

`python -m tallystick.bench.load` reads a job as JSON from its input and writes what it measured
as JSON. It speaks HTTP by hand: a client library would take more time than what is measured.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

_HOSTS = 200
"""Local addresses that the connections come from: one has 28,000 ports at most."""


class Link(asyncio.Protocol):
    """One kept connection; one question at a time."""

    def __init__(self) -> None:
        self._buffer = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands: the first request leaves."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """A piece of an answer."""
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        size = _length(head)
        if len(body) >= size and self._answer is not None and not self._answer.done():
            self._buffer = body[size:]
            self._answer.set_result((int(head[9:12]), body[:size]))

    def connection_lost(self, trouble: Exception | None) -> None:
        """The other side, or we, hung up."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError(str(trouble)))

    def ask(self, request: bytes) -> asyncio.Future[tuple[int, bytes]]:
        """Status and body of the answer, later."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def request(verb: str, path: str, token: str, body: bytes = b"") -> bytes:
    """A request as it goes over the wire."""
    return (
        f"{verb} {path} HTTP/1.1\r\nhost: pool\r\nauthorization: Bearer {token}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body


@dataclass(slots=True)
class Measured:
    """What was measured."""

    seconds: float = 0.0
    """Of the whole run."""
    times: list[float] = field(default_factory=list[float])
    """Seconds that each answer took."""
    troubles: int = 0
    """Answers that were not as they should be."""


async def connect(port: int, number: int = 0) -> Link:
    """A connection from one of many local addresses."""
    loop = asyncio.get_running_loop()
    source = (f"127.0.0.{1 + number % _HOSTS}", 0)
    _, link = await loop.create_connection(Link, "127.0.0.1", port, local_addr=source)
    return link


async def assignments(job: dict[str, Any]) -> Measured:
    """Ask for work on many connections at once until all of it is given away."""
    found, tokens, left = Measured(), job["tokens"], [job["count"]]
    links = [await connect(job["port"], number) for number in range(job["links"])]

    async def work(number: int, link: Link) -> None:
        turn = number
        while left[0] > 0:
            left[0] -= 1
            token = tokens[turn % len(tokens)]
            turn += len(links)
            began = time.perf_counter()
            status, _ = await link.ask(
                request("GET", "/replicates/available?blockNumber=1", token)
            )
            found.times.append(time.perf_counter() - began)
            found.troubles += status != 200

    began = time.perf_counter()
    await asyncio.gather(*(work(number, link) for number, link in enumerate(links)))
    found.seconds = time.perf_counter() - began
    return found


async def pushes(job: dict[str, Any]) -> Measured:
    """One worker holds many tasks and many others wait. It drops one after the other, and the
    time is taken until somebody has it."""
    found, loop = Measured(), asyncio.get_running_loop()
    given: asyncio.Queue[float] = asyncio.Queue()
    holder, *others = job["tokens"]
    link = await connect(job["port"])
    held = [await _demand(link, holder, wait=0) for _ in range(job["count"])]

    async def wait(number: int, token: str) -> None:
        mine = await connect(job["port"], number)
        while not await _demand(mine, token, wait=25):
            pass
        given.put_nowait(time.perf_counter())

    waiting = [loop.create_task(wait(number, token)) for number, token in enumerate(others)]
    await asyncio.sleep(job["settle"])
    began = time.perf_counter()
    for task in held:
        body = json.dumps({"status": "ABORTED", "details": {"cause": "UNKNOWN"}}).encode()
        drop = request("POST", f"/replicates/{task}/updateStatus", holder, body)
        sent = time.perf_counter()
        answer = link.ask(drop)
        found.times.append(await given.get() - sent)
        status, _ = await answer
        found.troubles += status != 200
    found.seconds = time.perf_counter() - began
    for each in waiting:
        each.cancel()
    return found


async def _demand(link: Link, token: str, *, wait: int) -> str:
    """The task that was given; "" when there was none."""
    path = f"/replicates/available?blockNumber=1&wait={wait}"
    status, body = await link.ask(request("GET", path, token))
    if status != 200:
        return ""
    return str(json.loads(body)["workerpoolAuthorization"]["chainTaskId"])


async def idlers(job: dict[str, Any]) -> Measured:
    """Many wait for work that never comes, and all of them ping."""
    found, tokens = Measured(), job["tokens"]

    async def wait(number: int, token: str) -> None:
        link = await connect(job["port"], number)
        while True:
            status, _ = await link.ask(
                request("GET", "/replicates/available?blockNumber=1&wait=25", token)
            )
            found.troubles += status != 204

    loop = asyncio.get_running_loop()
    waiting = []
    for number, token in enumerate(tokens):
        waiting.append(loop.create_task(wait(number, token)))
        if number % 50 == 0:
            await asyncio.sleep(job["settle"] * 50 / len(tokens))
    await asyncio.sleep(1.0)
    print(json.dumps({"connected": len(waiting)}), flush=True)
    links = [await connect(job["port"], number) for number in range(job["links"])]
    ends, turn = time.perf_counter() + job["window"], [0]
    period = job["links"] * job["ping"] / len(tokens)

    async def ping(number: int, link: Link) -> None:
        await asyncio.sleep(period * number / len(links))
        while time.perf_counter() < ends:
            turn[0] += 1
            began = time.perf_counter()
            asked = request("POST", "/workers/ping", tokens[turn[0] % len(tokens)])
            status, _ = await link.ask(asked)
            found.times.append(time.perf_counter() - began)
            found.troubles += status != 200
            await asyncio.sleep(max(0.0, began + period - time.perf_counter()))

    began = time.perf_counter()
    await asyncio.gather(*(ping(number, link) for number, link in enumerate(links)))
    found.seconds = time.perf_counter() - began
    for each in waiting:
        each.cancel()
    return found


KINDS: dict[str, Callable[[dict[str, Any]], Awaitable[Measured]]] = {
    "assignments": assignments,
    "pushes": pushes,
    "idlers": idlers,
}


async def _run(job: dict[str, Any]) -> Measured:
    return await KINDS[job["kind"]](job)


if __name__ == "__main__":
    told = asyncio.run(_run(json.loads(sys.stdin.read())))
    print(json.dumps({"seconds": told.seconds, "times": told.times, "troubles": told.troubles}))
