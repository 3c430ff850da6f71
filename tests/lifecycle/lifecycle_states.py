"""Tasks and replicates in any state, made by hand: for tables of what follows from each.

Deal of 60 s units that starts at 0: votes until 420, reveals until 200, end at 600, 10 s of
headroom; three votes of weight 2 for the same decide it.
"""

from __future__ import annotations

from dataclasses import replace

from lifecycle_lives import DEAL as EASY
from lifecycle_lives import TASK, VOTES, WORKERS

from tallystick.lifecycle.replicate import Replicate, Status
from tallystick.lifecycle.task import Task, TaskStatus

S = Status
DEAL = replace(EASY, trust=8, worker_stake=5)
ME = WORKERS[0]


def rep(status: Status = S.ASSIGNED, worker: object = ME, **known: object) -> Replicate:
    return replace(Replicate(worker, 2, status), **known)  # type: ignore[arg-type]


def won(status: Status, worker: object = ME, **known: object) -> Replicate:
    """A replicate that voted with the consensus."""
    revealed = status not in (S.CONTRIBUTED, S.FAILED, S.ABORTED)
    return rep(status, worker, **{"vote": VOTES[0], "revealed": revealed} | known)


def unset(*replicates: Replicate, **known: object) -> Task:
    task = Task(TASK, 0, DEAL, replicates={r.worker: r for r in replicates})
    return replace(task, **known)  # type: ignore[arg-type]


def active(*replicates: Replicate, **known: object) -> Task:
    return unset(*replicates, **{"status": TaskStatus.ACTIVE} | known)


def decided(*replicates: Replicate, **known: object) -> Task:
    said = {"status": TaskStatus.REVEALING, "consensus": VOTES[0], "reveal_deadline": 200}
    return unset(*replicates, **said | known)


def ended(*replicates: Replicate, **known: object) -> Task:
    return decided(*replicates, **{"status": TaskStatus.COMPLETED} | known)
