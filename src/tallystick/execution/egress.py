"""The proxy through which a job with an allow-list reaches its places, and no others.

Ours rather than a library's: the well-kept proxies are servers with threads, plugins or
interception of TLS, and listen where they please. This one gets a socket on the job's own
loopback, speaks CONNECT and plain HTTP, and looks names up itself, so that a name on the list
cannot lead to a neighbour of this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tallystick.engine.public_ip import is_public
from tallystick.execution.network import NetworkPolicy
from tallystick.execution.proxy_request import BadRequest, Request, read_request

log = logging.getLogger(__name__)

_HEAD_TIME = 10.0
_CONNECT_TIME = 20.0
_CHUNK = 1 << 16
_AT_ONCE = 64
"""Connections of a job that are open; more are refused."""
_MOST_PLACES = 200
"""Places that are remembered by name; a job could make up any number."""


@dataclass(slots=True)
class Traffic:
    """What went to and came from one place."""

    connections: int = 0
    sent: int = 0
    received: int = 0

    def send(self, count: int) -> None:
        """More bytes have gone there."""
        self.sent += count

    def receive(self, count: int) -> None:
        """More bytes have come from there."""
        self.received += count


@dataclass(slots=True)
class Ledger:
    """Where a job went, and where it was not let."""

    carried: dict[str, Traffic] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    """Place and reason."""

    def refuse(self, place: str, reason: str) -> None:
        """Remember a refusal, by its first reason."""
        if len(self.refused) < _MOST_PLACES:
            self.refused.setdefault(place, reason)

    def report(self, job: str) -> None:
        """One line for each place, in the worker's log."""
        for place, traffic in self.carried.items():
            log.info(
                "%s: %d connections to %s, %d bytes sent, %d received",
                *(job, traffic.connections, place, traffic.sent, traffic.received),
            )
        for place, reason in self.refused.items():
            log.warning("%s: not let to %s: %s", job, place, reason)


class _Refused(Exception):
    """The place is not for this job."""


class _Unreachable(Exception):
    """Nobody refused anything: the place cannot be reached, from here at least."""


@asynccontextmanager
async def proxy(
    policy: NetworkPolicy, listener: socket.socket, ledger: Ledger
) -> AsyncIterator[None]:
    """Serve on `listener`, which is closed afterwards together with every connection."""
    door = _Proxy(policy, ledger)
    server = await asyncio.start_server(door.enter, sock=listener, limit=_CHUNK)
    try:
        yield
    finally:
        server.close()
        await door.shut()


@dataclass(slots=True)
class _Proxy:
    policy: NetworkPolicy
    ledger: Ledger
    _open: set[asyncio.Task[None]] = field(default_factory=set)

    def enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A job has connected."""
        if len(self._open) >= _AT_ONCE:
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def shut(self) -> None:
        """Cut every connection."""
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, EOFError, TimeoutError):
                await self._one(reader, writer)
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_HEAD_TIME):
                request = read_request(await reader.readuntil(b"\r\n\r\n"))
        except (BadRequest, asyncio.LimitOverrunError) as mistake:
            await _answer(writer, "400 Bad Request", str(mistake))
            return
        try:
            there, back = await self._connected(request)
        except _Refused as refusal:
            self.ledger.refuse(request.place, str(refusal))
            await _answer(writer, "403 Forbidden", str(refusal))
        except _Unreachable as trouble:
            log.info("%s cannot be reached: %s", request.place, trouble)
            await _answer(writer, "502 Bad Gateway", str(trouble))
        else:
            try:
                await self._carry(request, (reader, writer), (there, back))
            finally:
                back.close()

    async def _connected(
        self, request: Request
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """To one of the addresses of the place. Raises `_Refused`."""
        if not self.policy.allows(request.host, request.port):
            raise _Refused("it is not on the allow-list")
        for address in await self._addresses(request):
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_CONNECT_TIME):
                    return await asyncio.open_connection(address, request.port)
        raise _Unreachable("it does not answer")

    async def _addresses(self, request: Request) -> list[str]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(request.host, request.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise _Unreachable("its name is not known") from error
        addresses = [str(address[0]) for *_, address in found]
        if not self.policy.private and not all(is_public(each) for each in addresses):
            raise _Refused("its address is private")
        return addresses

    async def _carry(
        self,
        request: Request,
        job: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        place: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Both ways until one side has ended and the other has said all."""
        traffic = self._traffic(request.place)
        traffic.connections += 1
        job[1].write(request.for_job)
        place[1].write(request.for_place)
        traffic.sent += len(request.for_place)
        async with asyncio.TaskGroup() as both:
            both.create_task(_copy(job[0], place[1], traffic.send))
            both.create_task(_copy(place[0], job[1], traffic.receive))

    def _traffic(self, place: str) -> Traffic:
        carried = self.ledger.carried
        name = place if place in carried or len(carried) < _MOST_PLACES else "other places"
        return carried.setdefault(name, Traffic())


async def _copy(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, count: Callable[[int], None]
) -> None:
    with contextlib.suppress(OSError):
        while chunk := await source.read(_CHUNK):
            target.write(chunk)
            count(len(chunk))
            await target.drain()
        target.write_eof()


async def _answer(writer: asyncio.StreamWriter, status: str, reason: str) -> None:
    text = f"tallystick: {reason}.\n".encode()
    head = f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {len(text)}\r\n\r\n"
    writer.write(head.encode() + text)
    await writer.drain()
