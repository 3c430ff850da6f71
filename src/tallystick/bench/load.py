"""The load of a benchmark, as a process of its own: so it is not the scheduler that is slowed.

`python -m tallystick.bench.load FILE` reads a job as JSON from its input and writes what it
measured into the file, as JSON. It speaks HTTP by hand: a client library would take more time
than what is measured.
"""

from __future__ import annotations

import asyncio
import gc
import json
import math
import os
import random
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

_HOSTS = 200
"""Local addresses that the connections come from: one has 28,000 ports at most."""

Then = Callable[[int, bytes], object]
"""Called with status and body of an answer; status 0 when the other side hung up."""


class Link(asyncio.Protocol):
    """One kept connection; one question at a time."""

    def __init__(self) -> None:
        self._buffer = b""
        self._then: Then | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands: the first request leaves."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        """A piece of an answer."""
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        size = _length(head)
        if found and len(body) >= size:
            self._buffer = b""
            self._answered(int(head[9:12]), body[:size])

    def connection_lost(self, trouble: Exception | None) -> None:
        """The other side, or we, hung up."""
        self._answered(0, b"")

    def ask(self, request: bytes, then: Then) -> None:
        """Have `then` called with the answer."""
        assert self._transport is not None
        self._then = then
        self._transport.write(request)

    def answer(self, request: bytes) -> asyncio.Future[tuple[int, bytes]]:
        """Status and body of the answer, later."""
        found = asyncio.get_running_loop().create_future()
        self.ask(request, lambda status, body: found.set_result((status, body)))
        return found

    def _answered(self, status: int, body: bytes) -> None:
        if self._then is not None:
            then, self._then = self._then, None
            then(status, body)


def _length(head: bytes) -> int:
    _, found, rest = head.partition(b"content-length: ")
    return int(rest.partition(b"\r")[0]) if found else 0


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
    cpu: float = 0.0
    """Seconds of processor time that the scheduler took meanwhile, all of its threads."""
    times: list[float] = field(default_factory=list[float])
    """Seconds that each answer took."""
    late: list[float] = field(default_factory=list[float])
    """Seconds that each request left later than it should have: then it is us who are slow."""
    troubles: int = 0
    """Answers that were not as they should be."""


class Stopwatch:
    """Time, and the scheduler's processor time, of a stretch of code."""

    def __init__(self, found: Measured, process: int) -> None:
        self._found, self._process = found, process

    def __enter__(self) -> None:
        self._found.cpu -= processor_time(self._process)
        self._found.seconds -= time.perf_counter()

    def __exit__(self, *raised: object) -> None:
        self._found.seconds += time.perf_counter()
        self._found.cpu += processor_time(self._process)


def processor_time(process: int) -> float:
    """Seconds of processor time of a process so far, of all its threads."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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
            asked = request("GET", "/replicates/available?blockNumber=1", token)
            began = time.perf_counter()
            status, _ = await link.answer(asked)
            found.times.append(time.perf_counter() - began)
            found.troubles += status != 200

    with Stopwatch(found, job["process"]):
        await asyncio.gather(*(work(number, link) for number, link in enumerate(links)))
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
    for _ in range(math.ceil(job["settle"])):
        await asyncio.sleep(1.0)  # and the holder lives, or its tasks would be given away
        await link.answer(request("POST", "/workers/ping", holder))
    with Stopwatch(found, job["process"]):
        for task in held:
            body = json.dumps({"status": "ABORTED", "details": {"cause": "UNKNOWN"}}).encode()
            drop = request("POST", f"/replicates/{task}/updateStatus", holder, body)
            while not given.empty():  # who has a task that nobody dropped
                given.get_nowait()
                found.troubles += 1
            sent = time.perf_counter()
            answer = link.answer(drop)
            found.times.append(await given.get() - sent)
            status, _ = await answer
            found.troubles += status != 200
    for each in waiting:
        each.cancel()
    return found


async def _demand(link: Link, token: str, *, wait: int) -> str:
    """The task that was given; "" when there was none."""
    path = f"/replicates/available?blockNumber=1&wait={wait}"
    status, body = await link.answer(request("GET", path, token))
    if status != 200:
        return ""
    return str(json.loads(body)["workerpoolAuthorization"]["chainTaskId"])


async def idlers(job: dict[str, Any]) -> Measured:
    """Many wait for work that never comes, and each of them pings in its own time."""
    found, port = Measured(), job["port"]
    paths = [
        "/replicates/available?blockNumber=1&wait=25",
        "/replicates/facts?after=0&of=&wait=25",
    ]
    pause = job["settle"] / len(job["tokens"])
    for number, token in enumerate(job["tokens"]):
        for path in paths[: job["held"]]:
            hold(await connect(port, number), request("GET", path, token), found)
        await asyncio.sleep(pause)
    await asyncio.sleep(1.0)
    free = [await connect(port, number) for number in range(job["links"])]
    with Stopwatch(found, job["process"]):
        await _pings(job, free, found)
    return found


def hold(link: Link, asked: bytes, found: Measured) -> None:
    """Ask the same again whenever it was answered, as an idle worker does."""

    def again(status: int, body: bytes) -> None:
        if status in (200, 204):
            link.ask(asked, again)
        else:
            found.troubles += 1

    link.ask(asked, again)


async def _pings(job: dict[str, Any], free: list[Link], found: Measured) -> None:
    """A ping leaves when it is due, whatever became of those before: each worker has its own
    moment in the period, as chance wills. One that finds no free connection makes one."""
    chance, every = random.Random(1), job["ping"]
    plan = sorted(
        (chance.random() * every, request("POST", "/workers/ping", token))
        for token in job["tokens"]
    )
    began, out, over = time.perf_counter(), set[Link](), asyncio.Event()

    def answered(link: Link, sent: float, status: int, body: bytes) -> None:
        found.times.append(time.perf_counter() - sent)
        found.troubles += status != 200
        free.append(link)
        out.discard(link)
        if not out:
            over.set()

    for turn in range(round(job["window"] / every)):
        for moment, asked in plan:
            due = began + turn * every + moment
            if (ahead := due - time.perf_counter()) > 0:
                await asyncio.sleep(ahead)
            link = free.pop() if free else await connect(job["port"])
            sent = time.perf_counter()
            found.late.append(sent - due)
            out.add(link)
            link.ask(asked, partial(answered, link, sent))
    over.clear()
    if out:
        await over.wait()


KINDS: dict[str, Callable[[dict[str, Any]], Awaitable[Measured]]] = {
    "assignments": assignments,
    "pushes": pushes,
    "idlers": idlers,
}


async def _run(job: dict[str, Any]) -> str:
    return json.dumps(asdict(await KINDS[job["kind"]](job)))


def main() -> None:
    """Do the job of the standard input."""
    gc.disable()  # it would stop us for longer than most answers take
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        import uvloop  # noqa: PLC0415 (not on every platform)
    except ImportError:
        factory = asyncio.new_event_loop
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        told = runner.run(_run(json.loads(sys.stdin.read())))
    Path(sys.argv[1]).write_text(told)


if __name__ == "__main__":
    main()
