"""Live updates: a stream of server-sent events that only says *that* something changed.

A browser then asks for its page again, with everybody's filters and rights as they are; so
there is one way to make a page, and a lost event loses nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final, Protocol

import anyio
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from tallystick.web.site import HEADERS

_ALIVE: Final = 15.0
"""Seconds of silence after which a comment shows that the line stands."""
_TOO_MANY: Final = "Too many pages are open here; this one looks again by itself in a while."


class Changes(Protocol):
    """Counts what happens; `engine.pulse.Pulse` is one."""

    @property
    def count(self) -> int:
        """Another number after each change."""
        ...

    @property
    def closed(self) -> bool:
        """Nothing will change any more."""
        ...

    async def next(self, count: int, patience: float = ...) -> int:
        """Wait, at most `patience` seconds, for a change after the `count` that was seen."""
        ...


@dataclass(slots=True)
class Stream:
    """The event stream of one site."""

    changes: Changes
    every: float = 0.5
    """Seconds between two events at the least: a busy pool changes all the time."""
    at_once: int = 500
    """Streams that may be open at a time; each holds a connection."""
    _open: int = field(default=0, init=False)

    def answer(self) -> Response:
        """The stream, or 503 when too many are open."""
        if self._open >= self.at_once:
            return PlainTextResponse(_TOO_MANY, 503, headers={"retry-after": "30"})
        headers = {**HEADERS, "cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(
            self._events(), headers=headers, media_type="text/event-stream"
        )

    async def _events(self) -> AsyncIterator[str]:
        self._open += 1
        try:
            seen = self.changes.count
            yield f"retry: 2000\nid: {seen}\nevent: here\ndata: {seen}\n\n"
            while not self.changes.closed:
                await self.changes.next(seen, _ALIVE)
                if self.changes.count == seen:
                    yield ": still here\n\n"
                    continue
                seen = self.changes.count
                yield f"id: {seen}\nevent: changed\ndata: {seen}\n\n"
                await anyio.sleep(self.every)
        finally:
            self._open -= 1
