"""Who may be believed alone: what audits taught about each worker, and about its owner.

PoCo's score can be bought and is never checked again once it is high (`docs/explanation/
verification.md`). What counts here is only what the pool itself has audited: a task that the
chain would accept from one worker was executed a second time by somebody it trusts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

_WRONG, _RIGHT = 1, 4
"""The prior, Beta(1, 4): a fifth of strangers' results are taken to be wrong."""


class Belief(StrEnum):
    """What a scheduler does with a result that the chain would accept from one worker."""

    ACCEPT = "accept"
    AUDIT = "audit"
    """Have it executed a second time before it counts."""
    REFUSE = "refuse"
    """Give this worker no authorization at all."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What audits found about one worker or one owner."""

    agreed: int = 0
    differed: int = 0

    def after(self, *, agreed: bool) -> Evidence:
        """With one more audit."""
        if agreed:
            return Evidence(self.agreed + 1, self.differed)
        return Evidence(self.agreed, self.differed + 1)

    @property
    def doubt(self) -> float:
        """The probability that the next result is wrong: the mean of Beta(1 + differed,
        4 + agreed)."""
        wrong = _WRONG + self.differed
        return wrong / (wrong + _RIGHT + self.agreed)


@dataclass(frozen=True, slots=True)
class Policy:
    """How a pool audits."""

    share: float
    """Of results that a worker may give alone: how many are executed a second time. Their
    choice must be unforeseeable to the worker."""
    trust: int = 100
    """A worker is believed alone once the doubt about it is at most 1 in `trust`."""

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError("audit: a share between 0 and 1")
        if self.trust < 1:
            raise ValueError("trust: at least 1")

    @property
    def probation(self) -> int:
        """Audits without a difference after which a stranger is believed: trust - 5."""
        return max(0, self.trust * _WRONG - _WRONG - _RIGHT)

    def decide(self, worker: Evidence, owner: Evidence, draw: float) -> Belief:
        """What to do with the next result. `draw` is a secret number, even in [0, 1)."""
        if worker.differed or owner.differed:
            return Belief.REFUSE
        if worker.doubt * self.trust > 1 or draw < self.share:
            return Belief.AUDIT
        return Belief.ACCEPT

    @property
    def before_caught(self) -> float:
        """Wrong results that a cheat gets through before it is caught, on average and whatever
        its strategy: (1 - q) / q."""
        return (1 - self.share) / self.share if self.share else float("inf")

    def wrong_under_churn(self, cheats: float) -> float:
        """The share of wrong results when each cheat that is caught comes back as a stranger:
        f x / (n + x + 1), with x of `before_caught` and n of `probation`; `cheats` is f."""
        caught_after = self.before_caught
        if caught_after == float("inf"):
            return cheats
        return cheats * caught_after / (self.probation + caught_after + 1)


@dataclass(slots=True)
class Register:
    """Evidence by worker and by owner. A worker whose owner is unknown is its own owner."""

    workers: dict[str, Evidence] = field(default_factory=dict[str, Evidence])
    owners: dict[str, Evidence] = field(default_factory=dict[str, Evidence])

    def of(self, worker: str, owner: str = "") -> tuple[Evidence, Evidence]:
        """What is known of a worker, and of its owner."""
        return (
            self.workers.get(worker, Evidence()),
            self.owners.get(owner or worker, Evidence()),
        )

    def learn(self, worker: str, owner: str = "", *, agreed: bool) -> None:
        """An audit has ended."""
        mine, theirs = self.of(worker, owner)
        self.workers[worker] = mine.after(agreed=agreed)
        self.owners[owner or worker] = theirs.after(agreed=agreed)
