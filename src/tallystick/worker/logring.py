"""The worker's last log lines, kept in memory for whoever asks over the control socket."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from tallystick.engine.pulse import Pulse

_KEPT = 1_000
"""Lines; with the next, at most 2 MB."""
_LONGEST = 2_000
"""Characters of a line."""


class LogRing(logging.Handler):
    """Remembers what our own loggers say. Whoever follows is woken by lines of the event
    loop's thread, which makes the ring; lines of other threads are seen with the next."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self._count, self._news, self._thread = 0, Pulse(), threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line."""
        self._count += 1
        self._lines.append(
            {
                "seq": self._count,
                "at": record.created,
                "level": record.levelname.lower(),
                "logger": record.name,
                "message": record.getMessage()[:_LONGEST],
            }
        )
        if threading.get_ident() == self._thread:
            self._news.beat()

    def last(self, count: int) -> list[dict[str, Any]]:
        """The newest lines, oldest first."""
        return list(self._lines)[-count:] if count else []

    async def follow(self, count: int) -> AsyncIterator[dict[str, Any]]:
        """The newest lines, and then each that comes; what comes too fast is left out."""
        reached = 0
        for line in self.last(count):
            reached = line["seq"]
            yield line
        reached = max(reached, self._count if not count else reached)
        while True:
            seen = self._news.count
            for line in [each for each in self._lines if each["seq"] > reached]:
                reached = line["seq"]
                yield line
            await self._news.next(seen)
