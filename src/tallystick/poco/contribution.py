"""How a result becomes a vote: hash, seal, weight and consensus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from eth_hash.auto import keccak

from tallystick.poco.values import ZERO_ADDRESS, Address, Digest, Hash, TaskId


def result_hash(task: TaskId, digest: Digest) -> Hash:
    """The vote: equal for every worker that computed the same digest."""
    return Hash(keccak(task + digest))


def result_seal(worker: Address, task: TaskId, digest: Digest) -> Hash:
    """The worker's own commitment: proves it knew the digest when it voted."""
    return Hash(keccak(worker + task + digest))


def authorization_hash(worker: Address, task: TaskId, enclave: Address = ZERO_ADDRESS) -> Hash:
    """What the scheduler signs, as a personal message, to let `worker` contribute.

    `enclave` is the address whose key lives in the worker's enclave; zero without one.
    """
    return Hash(keccak(worker + task + enclave))


def enclave_hash(choice: Hash, seal: Hash) -> Hash:
    """What an enclave signs, as a personal message, for a result that it computed."""
    return Hash(keccak(choice + seal))


def weight(score: int) -> int:
    """The voting weight of a worker with this score."""
    return max(score // 3, 3) - 1


@dataclass(frozen=True, slots=True)
class Tally:
    """Votes on one task, grouped by result hash. A group multiplies its voters' weights."""

    groups: Mapping[Hash, int] = field(default_factory=dict[Hash, int])

    def vote(self, choice: Hash, weight: int) -> Tally:
        """The tally after one more vote."""
        return Tally({**self.groups, choice: max(self.groups.get(choice, 0), 1) * weight})

    def without(self, choice: Hash) -> Tally:
        """The tally without a result that nobody revealed."""
        return Tally({h: w for h, w in self.groups.items() if h != choice})

    def settles(self, choice: Hash, trust: int) -> bool:
        """Whether `choice` has won: P(wrong) is below 1/trust."""
        return self.groups.get(choice, 0) * trust > self.total * (trust - 1)

    @property
    def total(self) -> int:
        """The weight of all groups, and of one vote that nobody cast."""
        return 1 + sum(self.groups.values())

    @property
    def leader(self) -> Hash | None:
        """The result with the most weight; None before the first vote."""
        return max(self.groups, key=lambda h: self.groups[h], default=None)
