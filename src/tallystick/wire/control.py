"""The socket on which a running program of ours answers its operator.

One line of JSON is asked (`{"do": "status"}`), one line is answered: `{"answer": {...}}`, or
`{"error": "a sentence"}`. A stream answers with a line for each piece of news, until whoever
asked hangs up. Only the program's own user, and root, may ask; nothing secret is ever told.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import stat
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import anyio
from anyio.abc import SocketAttribute, SocketListener, SocketStream

from tallystick.engine.errors import Refused, Unavailable

log = logging.getLogger(__name__)

SOCKET = "control.sock"
LONGEST_PATH = 100
"""Bytes that the kernel surely takes as a socket's address; it ends at 108."""
_LONGEST_REQUEST = 1 << 14
_PATIENCE = 5.0
"""Seconds for a request to arrive, and for a piece of an answer to be taken."""
_CROWD = 16
"""Conversations at a time: an operator has few terminals."""

Request: TypeAlias = Mapping[str, Any]
Answer: TypeAlias = Mapping[str, Any]
Handler = Callable[[Request], Awaitable[Answer]]
Stream = Callable[[Request], AsyncIterator[Answer]]


class BadRequest(Refused):
    """What was asked on the control socket makes no sense; the sentence says why."""


class Occupied(Refused):
    """Something that is not a socket lies where the control socket belongs."""


class Control:
    """What a program can be asked and told while it runs."""

    def __init__(self, noun: str = "worker") -> None:
        """`noun`: what the program is called in sentences for people."""
        self._noun = noun
        self._handlers: dict[str, Handler] = {}
        self._streams: dict[str, Stream] = {}
        self._conversations = 0

    def on(self, word: str, handler: Handler) -> None:
        """Let `handler` answer `{"do": word}`. It may raise Refused and Unavailable."""
        self._handlers[word] = handler

    def on_stream(self, word: str, stream: Stream) -> None:
        """Let `stream` answer `{"do": word}` with one line for each of its values."""
        self._streams[word] = stream

    async def run(self, home: Path) -> None:
        """Answer on the socket in `home` until cancelled. Raises Occupied."""
        with address(home) as path:
            listener = await SocketListener.from_socket(_bound(path))
            try:
                async with listener:
                    await listener.serve(self._converse)
            finally:
                path.unlink(missing_ok=True)

    async def answer(self, line: bytes) -> Answer:
        """What to say to one request that is no stream. Raises BadRequest and what handlers
        raise."""
        request = _parsed(line)
        handler = self._handlers.get(request["do"])
        if handler is None:
            known = ", ".join(sorted(self._handlers | self._streams))
            raise BadRequest(
                f"This {self._noun} cannot do {request['do'][:40]!r}; it can: {known}."
            )
        return await handler(request)

    async def _converse(self, stream: SocketStream) -> None:
        self._conversations += 1
        try:
            async with stream:
                await self._talk(stream)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, TimeoutError) as gone:
            log.debug("whoever asked is gone: %r", gone)
        finally:
            self._conversations -= 1

    async def _talk(self, stream: SocketStream) -> None:
        try:
            if not _may_ask(stream):
                raise BadRequest(f"Only the user who runs this {self._noun} may ask it.")
            if self._conversations > _CROWD:
                raise BadRequest(f"Too many programs ask this {self._noun} at once; try again.")
            await self._tell(stream, await _line(stream))
        except (Refused, Unavailable) as problem:
            await _send(stream, {"error": str(problem)})

    async def _tell(self, stream: SocketStream, line: bytes) -> None:
        news = self._streams.get(_parsed(line)["do"])
        if news is None:
            await _send(stream, {"answer": await self.answer(line)})
            return
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_until_hung_up, stream, tasks.cancel_scope)
            async for each in news(_parsed(line)):
                await _send(stream, {"answer": each})
            tasks.cancel_scope.cancel()


def text(request: Request, name: str, *, most: int = 200) -> str:
    """The text `name` of a request; empty when it is not there. Raises BadRequest."""
    value = request.get(name, "")
    if not isinstance(value, str) or len(value) > most:
        raise BadRequest(f"{name} has to be a text of at most {most} characters.")
    return value


def number(request: Request, name: str, default: int, *, most: int) -> int:
    """The whole number `name` of a request, from 0 to `most`. Raises BadRequest."""
    value = request.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise BadRequest(f"{name} has to be a whole number from 0 to {most}.")
    return value


@contextmanager
def address(home: Path) -> Iterator[Path]:
    """The path of the socket in `home`; where that is too long, one through the folder's
    descriptor, which is good within the block."""
    path = home / SOCKET
    if len(os.fsencode(path.absolute())) <= LONGEST_PATH:
        yield path
        return
    folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Path(f"/proc/self/fd/{folder}/{SOCKET}")
    finally:
        os.close(folder)


def _bound(path: Path) -> socket.socket:
    """A listening socket that only its owner can reach. Whoever holds the program's folder is
    alone there, so that a socket left behind is nobody's."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise Occupied(f"{path} is not a socket: move it away.")
        path.unlink()
    except FileNotFoundError:
        pass
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        os.fchmod(listening.fileno(), 0o600)  # the file is made with the mode of the socket
        listening.bind(str(path))
        path.chmod(0o600)
        listening.listen(_CROWD)
    except BaseException:
        listening.close()
        raise
    listening.setblocking(False)
    return listening


def _may_ask(stream: SocketStream) -> bool:
    raw = stream.extra(SocketAttribute.raw_socket)
    told = raw.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", told)
    return user in (0, os.geteuid())


async def _line(stream: SocketStream) -> bytes:
    """One request, bounded in size and time. Raises BadRequest."""
    line = b""
    with anyio.move_on_after(_PATIENCE):
        while b"\n" not in line and len(line) <= _LONGEST_REQUEST:
            try:
                line += await stream.receive(4096)
            except anyio.EndOfStream:
                break
    if b"\n" not in line or line.index(b"\n") > _LONGEST_REQUEST:
        raise BadRequest("A request is one short line of JSON.")
    return line[: line.index(b"\n")]


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as problem:
        raise BadRequest("A request is one short line of JSON.") from problem
    if not isinstance(request, dict) or not isinstance(request.get("do"), str):
        raise BadRequest('A request is an object that says what to do: {"do": "status"}.')
    return request


async def _send(stream: SocketStream, value: Mapping[str, Any]) -> None:
    line = json.dumps(value, default=str).encode() + b"\n"
    with anyio.fail_after(_PATIENCE):
        await stream.send(line)


async def _until_hung_up(stream: SocketStream, scope: anyio.CancelScope) -> None:
    """Whoever follows says nothing more: the end of its side is the end of the stream."""
    try:
        while True:
            await stream.receive(1024)
    except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        scope.cancel()
