"""Why a requester does not get what it asked for, each with a sentence for people."""

from __future__ import annotations

from tallystick.engine.errors import Refused


class CannotBuy(Refused):
    """Nothing was bought and nothing was paid; the sentence says what to change."""


class NoSuchThing(Refused):
    """The chain does not know this deal, task or asset."""


class NoResult(Refused):
    """The task has no result that could be downloaded (yet, or ever)."""


class ToldToContract(NoResult):
    """The deal names a contract that is told the result; no store has it."""


class BadResult(Refused):
    """What came back is not the result that the chain names, or is not safe to unpack."""


class NotYours(Refused):
    """The scheduler shows this to the requester of the deal only."""
