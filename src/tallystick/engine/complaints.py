"""Saying a trouble once, and once that it is over."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

AGAIN = 600.0
"""Seconds after which a trouble that lasts is said once more."""


class Complaints:
    """Keeps a log readable while something is away for hours and is tried every second."""

    def __init__(
        self, log: logging.Logger, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log, self._clock = log, clock
        self._since: dict[str, float] = {}
        self._said: dict[str, dict[str, float]] = {}

    def about(self, what: str, trouble: object) -> None:
        """`what` cannot be done because of `trouble`: news the first time, and seldom again."""
        now, sentence = self._clock(), str(trouble)
        self._since.setdefault(what, now)
        said = self._said.setdefault(what, {})
        if now - said.get(sentence, -AGAIN) >= AGAIN:
            said[sentence] = now
            self._log.warning("%s: %s Trying again until it works.", what, sentence)

    def over(self, what: str) -> None:
        """`what` works, perhaps again."""
        if (since := self._since.pop(what, None)) is not None:
            del self._said[what]
            self._log.info("%s: works again after %.0f s.", what, self._clock() - since)
