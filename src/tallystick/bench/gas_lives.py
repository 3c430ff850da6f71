"""Whole lives of tasks on a stage, and what each act of them burnt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tallystick.bench.gas_stage import Offer, Stage
from tallystick.poco.values import Digest

RIGHT, WRONG = Digest(b"\x33" * 32), Digest(b"\x44" * 32)
BAG = 20
"""Tasks of a deal that are opened together: as many as our scheduler puts in one call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """How tasks of a deal are lived through, each by new workers."""

    trust: int = 1
    agree: int = 1
    """Workers that vote for what wins; the contracts decide that it is enough."""
    dissent: int = 0
    """Workers that vote otherwise, before them."""
    at_once: bool = False
    """One worker votes, proves and finalizes in one transaction."""
    volume: int = 1
    """Tasks of the deal. More than one are opened by one transaction."""


@dataclass(slots=True)
class Burnt:
    """Gas of every transaction of a deal, by what it did, in order."""

    tasks: int
    acts: dict[str, list[int]] = field(default_factory=dict[str, list[int]])

    def add(self, act: str, gas: int) -> None:
        """One more transaction."""
        self.acts.setdefault(act, []).append(gas)

    @property
    def each(self) -> float:
        """Gas of everything, by tasks."""
        return sum(map(sum, self.acts.values())) / self.tasks


LIVES: Mapping[str, Life] = {
    "trust 1": Life(),
    "trust 3": Life(trust=3, agree=2),
    "trust 5": Life(trust=5, agree=3),
    "trust 5, one of five wrong": Life(trust=5, agree=4, dissent=1),
    "trust 10": Life(trust=10, agree=4),
    "trust 1, at once": Life(at_once=True),
    "trust 1, 20 in a deal": Life(volume=BAG),
    "trust 1, 20 in a deal, at once": Life(volume=BAG, at_once=True),
    "trust 5, 10 in a deal": Life(volume=10, trust=5, agree=3),
}
"""What is claimed of gas a task: by trust, by path, and by how many share a deal. Of more than
ten at trust 5 two votes are enough in the end: these workers earn weight by them."""


def live(stage: Stage, life: Life) -> Burnt:
    """Live it through on a chain where nobody has anything left over; all is undone then."""
    burnt = Burnt(life.volume)
    with stage.rehearsed():
        offer = Offer(trust=life.trust, volume=life.volume)
        workers = stage.workers[: life.agree + life.dissent]
        stage.stake(offer, () if life.at_once else workers)
        burnt.add("match", stage.match(offer))
        if life.volume == 1:
            burnt.add("initialize", stage.initialize())
        else:
            burnt.add("initialize", stage.initialize_all(life.volume))
        for index in range(life.volume):
            if index and not life.at_once:
                stage.stake(Offer(volume=0), workers)
            _one(stage, life, index, burnt)
    return burnt


def _one(stage: Stage, life: Life, index: int, burnt: Burnt) -> None:
    workers = stage.workers[: life.agree + life.dissent]
    if life.at_once:
        gas = stage.contribute_and_finalize(workers[0], RIGHT, index=index)
        burnt.add("contribute and finalize", gas)
        return
    for worker in workers[life.agree :]:
        burnt.add("contribute", stage.contribute(worker, WRONG, index))
    for worker in workers[: life.agree]:
        burnt.add("contribute", stage.contribute(worker, RIGHT, index))
    for worker in workers[: life.agree]:
        burnt.add("reveal", stage.reveal(worker, RIGHT, index))
    burnt.add("finalize", stage.finalize(index=index))
