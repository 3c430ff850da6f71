"""What everybody who knows the chain agrees on: what is locked, and how a task stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction

from tallystick.lifecycle.replicate import Replicate, Status
from tallystick.lifecycle.task import Task
from tallystick.poco.contribution import result_hash
from tallystick.poco.deal import Deal
from tallystick.poco.ledger import ChainStatus, ChainTask, Vote
from tallystick.poco.rewards import scheduler_stake
from tallystick.poco.values import Address, Hash


class Broken(AssertionError):
    """An invariant does not hold; the message says which, and about whom."""


def stakes_of(deal: Deal, task: ChainTask | None) -> Counter[Address]:
    """What one open task keeps locked."""
    due: Counter[Address] = Counter({deal.sponsor: deal.task_price})
    due[deal.workerpool.owner] += scheduler_stake(deal.workerpool.price)
    for worker in task.contributions if task else ():
        due[worker] += deal.worker_stake
    return due


def differences(task: Task, chain: ChainTask | None) -> Iterator[str]:
    """What somebody who has followed the chain holds otherwise than the chain."""
    if (task.status.name, chain is None) == ("UNSET", True):
        return
    if chain is None or task.status.name != chain.status.name:
        yield f"status ({task.status})"
        return
    # Who contributes and finalizes at once is not counted: nobody could vote against it.
    counted = chain.tally.groups or chain.status is not ChainStatus.COMPLETED
    if counted and dict(task.tally.groups) != dict(chain.tally.groups):
        yield "tally"
    if task.consensus != chain.consensus:
        yield "consensus"
    if {r.worker for r in task.winners} != set(chain.winners(Vote.CONTRIBUTED, Vote.PROVED)):
        yield "set of winners"
    if {r.worker for r in task.winners if r.revealed} != set(chain.winners(Vote.PROVED)):
        yield "set of reveals"
    silent = (r for r in task.replicates.values() if r.worker not in chain.contributions)
    if chain.contributions and any(r.alone for r in silent):
        yield "worker that may decide alone"
    rejected = {w for w, c in chain.contributions.items() if c.status is Vote.REJECTED}
    if {r.worker for r in task.in_status(Status.REJECTED)} != rejected:
        yield "set of rejected votes"


def carries(groups: list[int], best: int, trust: int) -> bool:
    """Whether votes of this weight are a consensus: the rest may be wrong with a probability of
    less than 1 in `trust`."""
    return Fraction(best, 1 + sum(groups)) > 1 - Fraction(1, trust)


def said(task: Task, who: Replicate) -> Hash | None:
    """The result that a worker stands for: its vote, before that the digest it handed in."""
    if who.vote is not None or who.digest is None:
        return who.vote
    return result_hash(task.id, who.digest)
