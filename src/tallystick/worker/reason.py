"""Why a worker does not do something, for programs and for people."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    """A word for programs (`STAKE_TOO_LOW`), a sentence for people that says what to do."""

    code: str
    sentence: str
