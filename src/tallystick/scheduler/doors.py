"""How callers of a pool prove who they are, to whichever of its processes."""

from __future__ import annotations

from dataclasses import dataclass

from tallystick.wire.auth import Challenges


@dataclass(frozen=True, slots=True)
class Doors:
    """What is needed to tell who speaks."""

    challenges: Challenges
    token_key: bytes
    reading_key: bytes | None = None
    """Of the challenges to read logs; None: this process's own."""
