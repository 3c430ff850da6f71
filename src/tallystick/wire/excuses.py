"""Why a server says that it refuses us, for people."""

from __future__ import annotations

import json
from contextlib import suppress

from tallystick.engine.errors import printable


def told_reason(body: bytes) -> str:
    """The server's words where it has any; else what v9 schedulers mean by their silence."""
    told = body.decode(errors="replace")
    with suppress(ValueError, RecursionError, LookupError, TypeError):
        told = str(json.loads(body)["message"])
    words = printable(told).rstrip(". ")
    return words or "the wallet is not on its list, or its signature was wrong"
