"""The rules that are compared: PoCo as it is, a quorum, BOINC's adaptive replication, ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from random import Random
from typing import Final

from tallystick.lifecycle.evidence import Policy
from tallystick.poco.contribution import Tally, weight
from tallystick.poco.values import Address, Hash
from tallystick.sim.cheats import MakeRule, Person, Town
from tallystick.sim.trial import Court

_RIGHT, _WRONG = Hash(b"\1" * 32), Hash(b"\2" * 32)
"""Cheats agree on what they say: the worst case for whoever counts votes."""


@dataclass(slots=True)
class PoCo:
    """The contract: votes weighed by score until one of them settles at `trust`."""

    trust: int
    scores: Counter[int] = field(default_factory=Counter[int])

    def alone(self, person: Person) -> bool:
        """Whether one vote of it settles."""
        mine = weight(self.scores[person.name])
        return Tally().vote(_RIGHT, mine).settles(_RIGHT, self.trust)

    def settle(self, town: Town) -> None:
        """Workers are asked until one result settles; when twelve did not do it, it is over."""
        tally, voters = Tally(), dict[int, tuple[Person, Hash]]()
        while len(voters) < 12:
            person = town.pick(tuple(p for p, _ in voters.values()))
            choice = _RIGHT if town.says(person, self, first=not voters) else _WRONG
            voters[person.name] = (person, choice)
            tally = tally.vote(choice, weight(self.scores[person.name]))
            if tally.settles(choice, self.trust):
                self._score(voters, choice)
                town.done(right=choice == _RIGHT)
                return
        town.claim()

    def _score(self, voters: Mapping[int, tuple[Person, Hash]], winner: Hash) -> None:
        """As the contract does: + 1 in company, a third lost when wrong (spec of PoCo)."""
        for name, (_, choice) in voters.items():
            if choice != winner:
                self.scores[name] -= self.scores[name] // 3
            elif len(voters) > 1:
                self.scores[name] += 1


@dataclass(slots=True)
class Quorum:
    """The first result that `agree` workers agree on; nobody's word alone."""

    agree: int

    def alone(self, person: Person) -> bool:
        """Only where one is enough. Who waits for more stays honest: look at hasty cheats."""
        return self.agree == 1

    def settle(self, town: Town) -> None:
        """Workers are asked until enough agree."""
        votes, asked = Counter[bool](), tuple[Person, ...]()
        while True:
            person = town.pick(asked)
            asked = (*asked, person)
            right = town.says(person, self, first=len(asked) == 1)
            votes[right] += 1
            if votes[right] >= self.agree:
                town.done(right=right)
                return


@dataclass(slots=True)
class Adaptive:
    """BOINC's adaptive replication: who agreed with another ten times in a row is believed
    alone, but for one task in as many as its run is long."""

    run: int = 10
    runs: Counter[int] = field(default_factory=Counter[int])

    def alone(self, person: Person) -> bool:
        """Whether it may be believed alone."""
        return self.runs[person.name] >= self.run

    def settle(self, town: Town) -> None:
        """Alone if trusted, else until two agree."""
        first = town.pick()
        trusted = self.alone(first) and town.random.random() >= 1 / self.runs[first.name]
        said = {first.name: town.says(first, self)}
        if trusted:
            town.done(right=said[first.name])
            return
        asked: tuple[Person, ...] = (first,)
        while max(Counter(said.values()).values()) < 2:
            person = town.pick(asked)
            asked = (*asked, person)
            said[person.name] = town.says(person, self, first=False)
        winner, _ = Counter(said.values()).most_common(1)[0]
        for name, right in said.items():
            self.runs[name] = self.runs[name] + 1 if right == winner else 0
        town.done(right=winner)


@dataclass(slots=True)
class Audited:
    """Ours: one worker a task, and what the scheduler and the lifecycle make of its result."""

    policy: Policy
    court: Court = field(init=False)
    dice: Random = field(default_factory=Random)

    def __post_init__(self) -> None:
        self.court = Court(self.policy, self._throw)

    def _throw(self) -> float:
        return self.dice.random()

    def alone(self, person: Person) -> bool:
        """Whether its probation is over. Which of its results are audited it cannot know."""
        return self.court.audits.believes(_wallet(person))

    def settle(self, town: Town) -> None:
        """One execution, and a second where the pool asks for one."""
        self.dice = town.random
        person = town.pick()
        right, worker = town.says(person, self), _wallet(person)
        verdict = self.court.decide(worker, right=right, classic=person.classic)
        for _ in range(verdict.executions - 1):
            town.audit()
        if self.court.audits.distrusts(worker):
            town.catch(person)
        if verdict.right is None:
            town.claim()
        else:
            town.done(right=verdict.right)


def _wallet(person: Person) -> Address:
    return _numbered(person.name)


@lru_cache(1 << 16)
def _numbered(name: int) -> Address:
    return Address(name.to_bytes(20, "big"))


RULES: Final[Mapping[str, MakeRule]] = {
    "one worker": partial(Quorum, 1),
    "quorum of 2": partial(Quorum, 2),
    "quorum of 3": partial(Quorum, 3),
    "PoCo, trust 10": partial(PoCo, 10),
    "PoCo, trust 100": partial(PoCo, 100),
    "BOINC adaptive": Adaptive,
    "audit 2 %": lambda: Audited(Policy(0.02)),
    "audit 5 %": lambda: Audited(Policy(0.05)),
    "audit 10 %": lambda: Audited(Policy(0.10)),
    "audit 20 %": lambda: Audited(Policy(0.20)),
}
"""Each by the name under which it is shown."""
