"""Why a reader of the public routes is given nothing."""

from __future__ import annotations


class NoSuch(Exception):
    """What was asked for is not here."""


class NotYours(Exception):
    """It is here, but not for this caller."""


class NoToken(Exception):
    """A request came without the header in which a worker shows its token."""


class OddCursor(Exception):
    """A page was asked for after something that is not in the list."""
