"""How the worker's talk with its scheduler goes, for whoever asks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tallystick.worker.reason import Reason

_ANSWERS = {
    "NO_TASK": "The scheduler has no open task: nobody buys from this pool now.",
    "ENOUGH_WORKERS": "Every open task of the pool has enough workers already.",
    "ALREADY_HAD": "This worker had every open task of the pool already; none is given twice.",
    "SLOTS_FULL": "By the scheduler's count all slots of this worker are busy.",
    "NEEDS_ENCLAVE": "Every open task of the pool wants a trusted enclave.",
    "NEEDS_GPU": "Every open task of the pool wants a GPU.",
    "NEEDS_MEMORY": "Every open task of the pool wants more memory than this worker offers.",
    "STAKE_TOO_LOW": "No open task can be staked for with what is free on the hub.",
    "OUT_OF_GAS": "The wallet cannot pay for the transactions of a vote.",
    "TOO_LATE": "What still wants workers has too little time left to be computed.",
    "NOT_REGISTERED": "The scheduler does not know this worker: it registers again.",
    "ASKED_TOO_EARLY": "The worker asked before it had seen a block of the chain.",
    "BLOCKED": "The pool's operator has blocked this wallet: ask why, or choose another pool.",
    "DISTRUSTED": "Others computed something else than this worker, or than another one of its"
    " owner: the pool's operator can pardon it.",
    "POOL_DRAINS": "The pool is about to end: it begins no task, and finishes those it has.",
}


@dataclass(slots=True)
class Contact:
    """The last of each kind. Instants are seconds since the epoch, by this machine's clock."""

    clock: Callable[[], float] = time.time
    began: float = field(default=0.0)
    """When this worker started."""
    heard_at: float | None = None
    """When the scheduler last answered a sign of life."""
    asked_at: float | None = None
    """When it was last asked for work."""
    answered_at: float | None = None
    answer: Reason | None = None
    """Why it had none; None when it gave work, or did not answer yet."""
    trouble_at: float | None = None
    trouble: str | None = None
    """Why it could not be talked to, when that was last so."""
    failures: int = 0
    """How often that was so, since the start."""

    def __post_init__(self) -> None:
        self.began = self.began or self.clock()

    def heard(self) -> None:
        """The scheduler answered."""
        self.heard_at = self.clock()

    def asked(self) -> None:
        """It is asked for work."""
        self.asked_at = self.clock()

    def answered(self, word: str | None) -> None:
        """It had no work, in its own word, empty when it says none; None: it had some."""
        self.answered_at = self.heard_at = self.clock()
        self.answer = None if word is None else _answer(word)

    def met(self, trouble: object) -> None:
        """It could not be talked to, or refused."""
        self.trouble_at, self.trouble = self.clock(), str(trouble)
        self.failures += 1

    @property
    def broken(self) -> bool:
        """Whether the last attempt to talk to it failed."""
        return self.trouble_at is not None and self.trouble_at > (self.heard_at or 0.0)

    def told(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "heard_at": self.heard_at,
            "asked_at": self.asked_at,
            "answered_at": self.answered_at,
            "answer": self.answer.code if self.answer else None,
            "answer_sentence": self.answer.sentence if self.answer else None,
            "broken": self.broken,
            "trouble": self.trouble,
            "trouble_at": self.trouble_at,
        }


def _answer(word: str) -> Reason:
    """The scheduler's word with a sentence of ours: strangers' sentences are not repeated."""
    if word in _ANSWERS:
        return Reason(word, _ANSWERS[word])
    return Reason("NO_WORK", "The scheduler gave no work, and no reason.")
