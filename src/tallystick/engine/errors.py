"""Why a step could not be done. Anything else that a step raises is a bug, and is fatal."""

from __future__ import annotations


class Unavailable(Exception):
    """The world is not ready: a node, a registry or a store does not answer.

    The engine waits and begins again for as long as the command is due.
    """


class DiskTrouble(Unavailable):
    """What has to be remembered cannot be written now: nothing was changed."""


class NoRoom(Unavailable):
    """A disk of this machine is full. Others have room, so no task is at fault."""


class Refused(Exception):
    """The answer is no, and asking again cannot change it."""


def printable(text: str) -> str:
    """What another party wrote, for our own log: a line without control characters."""
    return "".join(char for char in text[:500] if char.isprintable())
