"""SockJS as text: what its transports carry. The v9 peers speak STOMP inside of it.

No library is used: the one for asyncio is made for aiohttp, with its own server. WebSocket
itself is what uvicorn and `websockets` make of it.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Mapping
from typing import Any, Final

from tallystick.engine.errors import printable

OPEN: Final = "o"
HEARTBEAT: Final = "h"
HEARTBEAT_SECONDS: Final = 5.0
"""Without traffic after which a heartbeat is sent, as the v9 scheduler has it."""
PRELUDE: Final = b"h" * 2048 + b"\n"
"""Before the frames of a stream, so that nothing on the way waits for more."""
STREAM_BYTES: Final = 128 << 10
"""Of a streamed answer after which it ends, and is asked for again."""
REJOIN_SECONDS: Final = 5.0
"""Within which whoever receives has to ask again, or its session is dropped."""
GONE: Final = (3000, "Go away!")
BUSY: Final = (2010, "Another connection still open")
BROKEN: Final = (1002, "")
"""What was said inside is no STOMP."""

PATH: Final = re.compile(r"/(?P<server>[^/.]{1,40})/(?P<session>[^/.]{1,80})/(?P<how>[a-z_]+)")
"""Behind the endpoint: whose choice the first two are, is the client's alone."""


class BadPayload(ValueError):
    """What a client sent is no list of messages. Its text is what v9 peers are told."""


def info(*, websocket: bool) -> Mapping[str, Any]:
    """`GET {endpoint}/info`. What follows `websocket` is looked for by v9 workers as text."""
    return {
        "entropy": secrets.randbits(32) - (1 << 31),
        "origins": ["*:*"],
        "cookie_needed": True,
        "websocket": websocket,
    }


def carried(messages: Iterable[str]) -> str:
    """A frame with messages for the client. ASCII, so that no transport can spoil it."""
    return "a" + json.dumps(list(messages), separators=(",", ":"))


def closed(why: tuple[int, str]) -> str:
    """A frame that ends the session."""
    return "c" + json.dumps(list(why), separators=(",", ":"))


def payload(messages: Iterable[str]) -> str:
    """What a client sends."""
    return json.dumps(list(messages))


def received(frame: str) -> list[str]:
    """The messages in a frame that carries some. Raises BadPayload."""
    return sent(frame[1:].encode("utf-8", "surrogatepass"))


def why_closed(frame: str) -> str:
    """What a frame that ends the session says, for people."""
    try:
        code, reason = json.loads(frame[1:])
    except (ValueError, TypeError, RecursionError):
        return "no reason"
    return printable(f"{code} {reason}")


def sent(body: bytes) -> list[str]:
    """The messages in what a client sends; over a WebSocket it may be one alone. Raises
    BadPayload."""
    if not body:
        raise BadPayload("Payload expected.")
    try:
        told = json.loads(body)
    except (ValueError, RecursionError) as problem:
        raise BadPayload("Broken JSON encoding.") from problem
    messages = [told] if isinstance(told, str) else told
    if not isinstance(messages, list) or not all(isinstance(each, str) for each in messages):
        raise BadPayload("Broken JSON encoding.")
    return messages
