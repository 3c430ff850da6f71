"""One thing that a v9 worker is told without having asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tallystick.poco.values import Address

REVEAL: Final = "PLEASE_REVEAL"
UPLOAD: Final = "PLEASE_UPLOAD"
COMPLETE: Final = "PLEASE_COMPLETE"
ABORT: Final = "PLEASE_ABORT"


@dataclass(frozen=True, slots=True)
class Notice:
    """What one worker is to be told; the same as long as it is owed."""

    word: str
    worker: Address | None = None
    """Whom it is for; None: everybody who listens."""
    cause: str | None = None
    """Why a replicate is to be dropped."""
