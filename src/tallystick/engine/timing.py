"""How long our own code takes between learning that something is due and doing it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar

Sink = Callable[[str, float, float], None]
"""Receives what was sent, when it became due and when it left; seconds since the epoch."""

_due: ContextVar[tuple[float, Sink] | None] = ContextVar("due", default=None)
_stream: ContextVar[str | None] = ContextVar("stream", default=None)


def due(at: float, sink: Sink, of: str | None = None) -> None:
    """From here on, in this task: `at` is when the present step became due, for stream `of`."""
    _stream.set(of)
    _due.set((at, sink))


def stream() -> str | None:
    """The stream that the present step works for; None outside a step."""
    return _stream.get()


def sent(what: str) -> None:
    """A request or transaction leaves now. Does nothing outside a step."""
    if (step := _due.get()) is not None:
        at, sink = step
        sink(what, at, time.time())
