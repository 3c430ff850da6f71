"""Whom the pool believes: what its audits found, and whose results are computed again.

What an audit found is a fact of the journal, so it outlives a restart, and all schedulers of a
pool learn it. A pardon is a note beside it: what was found of a worker before does not count.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from secrets import SystemRandom
from typing import TYPE_CHECKING, Any, Final

from tallystick.lifecycle.audit import is_second_opinion
from tallystick.lifecycle.evidence import Belief, Evidence, Policy, Register
from tallystick.lifecycle.facts import Audit, Audited, Authorized, Fact, Scrutiny
from tallystick.poco.values import Address, Hash

if TYPE_CHECKING:
    from tallystick.engine.journal import Entry, Journal
    from tallystick.lifecycle.task import Task
    from tallystick.scheduler.roster import Roster

_RANDOM: Final = SystemRandom()
_PARDON: Final = "pardon "
_HALF: Final = 0.5
_ANY_RESULT: Final = Hash(bytes(32))


@dataclass(frozen=True, slots=True)
class _Finding:
    """One audit."""

    worker: Address
    owner: str
    agreed: bool
    at: float


class Audits:
    """Evidence about the workers of a pool, and the draws. Without a policy nothing is drawn,
    and what was found before still counts."""

    def __init__(self, roster: Roster, draw: Callable[[], float] = _RANDOM.random) -> None:
        """`draw`: numbers in [0, 1) that nobody can foresee. What was drawn is a fact of the
        journal before the worker hears of its task."""
        self._roster, self._draw = roster, draw
        self.policy: Policy | None = None
        self.auditors: tuple[Address, ...] = ()
        """The operator's own wallets; empty: any worker of another owner is asked."""
        self._notes: Journal[Any] | None = None
        self._pardons: dict[Address, float] = {}
        self._findings: dict[tuple[str, Address, bool], _Finding] = {}
        self._register = Register()
        self.outcomes = Counter[str]()
        """Audits by outcome: agreed, differed, missed (nobody computed it again in time)."""

    def open(
        self, notes: Journal[Any], policy: Policy | None, auditors: tuple[Address, ...] = ()
    ) -> None:
        """Begin with what the operator has set, and has pardoned."""
        self._notes, self.policy, self.auditors = notes, policy, auditors
        self.read_again()

    def keep(self, entry: Entry[Fact], task: Task | None) -> None:
        """Learn from an audit of `task`; other facts are passed over, and so is what is
        known."""
        match entry.fact:
            case Authorized(worker=worker) if task and task.replicates[worker].was_missed:
                self.outcomes["missed"] += 1
            case Audited(worker=worker, agreed=agreed, owner=owner, counts=True):
                key = (entry.stream, worker, agreed)
                if key not in self._findings:
                    self._findings[key] = found = _Finding(worker, owner, agreed, entry.at)
                    self.outcomes["agreed" if agreed else "differed"] += 1
                    self._learn(found)
            case _:
                return

    def read_again(self) -> list[Address]:
        """Who is pardoned, perhaps at the word of another scheduler of the pool. Tells who is
        believed again."""
        if self._notes is None:
            return []
        before = [w for w in {f.worker for f in self._findings.values()} if self.distrusts(w)]
        self._pardons = {
            Address(key.removeprefix(_PARDON)): float(at)
            for key, at in self._notes.notes(_PARDON).items()
        }
        self._register = Register()
        for found in self._findings.values():
            self._learn(found)
        return [worker for worker in before if not self.distrusts(worker)]

    def pardon(self, wallet: Address) -> list[Address]:
        """Forget what was found of this worker, and of others of its owner. Who they are."""
        assert self._notes is not None
        owner = self._roster.owner(wallet)
        kin = {f.worker for f in self._findings.values() if owner and f.owner == owner}
        for worker in {wallet} | kin:
            self._notes.note(f"{_PARDON}{worker}", repr(time.time()))
        self.read_again()
        return sorted({wallet} | kin)

    def distrusts(self, worker: Address) -> bool:
        """Whether audits found a wrong result of this worker, or of its owner."""
        mine, owner = self.evidence(worker)
        return bool(mine.differed or owner.differed)

    def believes(self, worker: Address) -> bool:
        """Whether the word of this worker counts alone."""
        if self.policy is None or worker in self.auditors:
            return True
        mine, _ = self.evidence(worker)
        return not self.distrusts(worker) and mine.doubt * self.policy.trust <= 1

    def evidence(self, worker: Address) -> tuple[Evidence, Evidence]:
        """What audits found of a worker, and of its owner."""
        return self._register.of(str(worker), self._roster.owner(worker))

    def may_audit(self, worker: Address) -> bool:
        """Whether this worker may be asked for a second opinion."""
        return not self.auditors or worker in self.auditors

    def terms(
        self, task: Task, worker: Address, power: int, *, digest_first: bool
    ) -> Scrutiny | None:
        """On what terms a replicate is given to a worker whose vote weighs `power`."""
        if self.policy is None:
            return None
        trusted, second = worker in self.auditors, is_second_opinion(task)
        audit = Audit.NO
        if not (trusted or second) and _decides(task, power):
            audit = self._drawn(self.policy, worker, task.deal.trust)
        return Scrutiny(
            audit=audit,
            owner=self._roster.owner(worker),
            trusted=trusted,
            audits=second,
            digest_first=digest_first,
            ahead=second and not trusted and self._goes_ahead(task, power),
        )

    def told(self, worker: Address) -> dict[str, Any]:
        """What is known of a worker, for programs."""
        mine, owner = self.evidence(worker)
        return {
            "audits": mine.agreed + mine.differed,
            "audits_differed": mine.differed,
            "doubt": round(max(mine.doubt, owner.doubt if owner.differed else 0.0), 4),
            "belief": self._belief(worker),
        }

    def _belief(self, worker: Address) -> str:
        if worker in self.auditors:
            return "auditor"
        if self.distrusts(worker):
            return "distrusted"
        if self.policy is None:
            return ""
        return "believed" if self.believes(worker) else "probation"

    def _goes_ahead(self, task: Task, power: int) -> bool:
        """Whether an auditor that agrees votes first. Where its vote leaves the task open both
        are paid; where one vote decides a coin says who: the auditor can see that it is one,
        and must not know that it works for nothing."""
        return not _decides(task, power) or self._draw() < _HALF

    def _drawn(self, policy: Policy, worker: Address, trust: int) -> Audit:
        mine, owner = self.evidence(worker)
        if policy.decide(mine, owner, self._draw()) is Belief.ACCEPT:
            return Audit.NO
        return Audit.DRAWN if mine.doubt * trust <= 1 else Audit.NEEDED

    def _learn(self, found: _Finding) -> None:
        if found.at > self._pardons.get(found.worker, 0.0):
            self._register.learn(str(found.worker), found.owner, agreed=found.agreed)


def _decides(task: Task, power: int) -> bool:
    """Whether the chain would take the word of this worker alone."""
    voted = any(r.vote for r in task.replicates.values())
    after = task.tally.vote(_ANY_RESULT, power)
    return not voted and after.settles(_ANY_RESULT, task.deal.trust)
