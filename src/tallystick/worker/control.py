"""The socket on which a running worker answers its operator: see `wire.control`."""

from __future__ import annotations

from tallystick.wire.control import (
    SOCKET,
    Answer,
    BadRequest,
    Control,
    Handler,
    Occupied,
    Request,
    Stream,
    address,
    number,
    text,
)

__all__ = [
    "SOCKET",
    "Answer",
    "BadRequest",
    "Control",
    "Handler",
    "Occupied",
    "Request",
    "Stream",
    "address",
    "number",
    "text",
]
