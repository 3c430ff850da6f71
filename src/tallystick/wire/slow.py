"""HTTP/1.1 as uvicorn speaks it, for callers who may be slow on purpose."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

from tallystick.wire.refusals import refusal

HEAD_SECONDS: Final = 20.0
"""Within which the head of a request must have arrived, from the first connection on."""
READ_SECONDS: Final = 60.0
"""For which a caller may leave an answer unread."""


class Clocked(asyncio.Protocol):
    """Hangs up on a caller that connects and says nothing, dribbles a head byte by byte, or
    never reads its answer. What waits in silence between two requests, uvicorn ends itself.

    To be put before one of uvicorn's protocols."""

    head_seconds, read_seconds = HEAD_SECONDS, READ_SECONDS
    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    _head: asyncio.TimerHandle | None = None
    _answer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """A caller; its first request is awaited."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """A piece of a request: the clock runs until its head is there."""
        super().data_received(data)
        if not self._head_missing():
            self._stop("_head")
        elif self._head is None:
            self._await_head()

    def pause_writing(self) -> None:
        """The caller does not read as fast as we write."""
        super().pause_writing()
        self._answer = self._answer or self.loop.call_later(self.read_seconds, self._hang_up)

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        self._stop("_answer")

    def connection_lost(self, exc: Exception | None) -> None:
        """The caller is gone."""
        self._stop("_head", "_answer")
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """To what is no HTTP, or has a head without end."""
        said = refusal(400, "This is no request of HTTP/1.1, or its head is too large.")
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n")
        for name, value in said.raw_headers:
            self.transport.write(name + b": " + value + b"\r\n")
        self.transport.write(b"\r\n" + bytes(said.body))
        self.transport.close()

    def _head_missing(self) -> bool:
        """Whether the caller owes us the rest of a head, after it said something."""
        raise NotImplementedError

    def _await_head(self) -> None:
        self._head = self.loop.call_later(self.head_seconds, self._hang_up)

    def _hang_up(self) -> None:
        self.transport.abort()

    def _stop(self, *timers: str) -> None:
        for name in timers:
            timer: asyncio.TimerHandle | None = getattr(self, name)
            if timer is not None:
                timer.cancel()
                setattr(self, name, None)


class Impatient(Clocked, H11Protocol):
    """Reads requests with h11, which is Python and runs everywhere."""

    def _head_missing(self) -> bool:
        return repr(self.conn.their_state) == "IDLE"  # h11's word: nothing was asked yet
