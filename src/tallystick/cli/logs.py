"""Logs of a program that runs: text for people, or one JSON object a line for collectors."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Final

from tallystick.engine.timing import stream
from tallystick.poco.values import TaskId

_TEXT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_CHATTY: Final = ("httpx2", "httpcore2", "websockets")


class JsonLines(logging.Formatter):
    """`time`, `level`, `logger`, `message`, and where they are known `task` and `error`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line for a terminal or a file."""
        entry = {
            "time": _instant(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if task := _task(record):
            entry["task"] = task
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def configure(form: str = "text", level: str = "info") -> logging.Logger:
    """Send what is logged to stderr from now on. Returns our own logger."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else logging.Formatter(_TEXT))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)
    return logging.getLogger("tallystick")


def _instant(created: float) -> str:
    """UTC, to the millisecond."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created))
    return f"{whole}.{int(created % 1 * 1000):03d}Z"


def _task(record: logging.LogRecord) -> str | None:
    """The task that is spoken of, or that is being worked on."""
    spoken_of = record.args if isinstance(record.args, tuple) else ()
    named = next((arg for arg in spoken_of if isinstance(arg, TaskId)), None)
    return str(named) if named is not None else stream()
