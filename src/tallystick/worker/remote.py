"""Asking a running worker over its control socket: see `wire.remote`."""

from __future__ import annotations

from tallystick.wire.remote import NoAnswer, NotRunning, ask, follow

__all__ = ["NoAnswer", "NotRunning", "ask", "follow"]
