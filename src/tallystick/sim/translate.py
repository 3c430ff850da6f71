"""From the ledger's events to facts, and from commands to calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tallystick.lifecycle.facts import (
    ChainFact,
    Claimed,
    ConsensusReached,
    Contributed,
    Finalized,
    Initialized,
    Ordered,
    Reopened,
    Revealed,
)
from tallystick.poco.contribution import weight
from tallystick.poco.escrow import Event
from tallystick.poco.ledger import Ledger
from tallystick.poco.values import Address, DealId, Digest, Hash, TaskId
from tallystick.sim.blocks import Told


def facts_of(ledger: Ledger, events: Iterable[Event]) -> Iterator[Told]:
    """What a follower of the chain makes of the events that one call has just emitted."""
    for event in events:
        match event:
            case Event("SchedulerNotice", (_, DealId() as deal_id)):
                deal = ledger.clerk.deals[deal_id]
                for index in deal.indices:
                    yield deal.task_id(index), Ordered(deal, index)
            case Event(name, (TaskId() as task, *rest)) if name.startswith("Task"):
                yield task, _fact(ledger, task, name, tuple(rest))
            case _:
                continue  # money: accounts are read, not followed


def _fact(ledger: Ledger, task: TaskId, name: str, rest: tuple[object, ...]) -> ChainFact:
    match name, rest:
        case "TaskInitialize", _:
            return Initialized()
        case "TaskContribute", (Address() as worker, Hash() as choice):
            return Contributed(worker, choice, weight(ledger.scores.get(worker, 0)))
        case "TaskConsensus", (Hash() as choice,):
            return ConsensusReached(choice, ledger.tasks[task].reveal_deadline)
        case "TaskReveal", (Address() as worker, Digest() as digest):
            return Revealed(worker, digest)
        case "TaskReopen", _:
            return Reopened()
        case "TaskFinalize", (bytes() as results,):
            return Finalized(results.decode())
        case "TaskClaimed", _:
            return Claimed()
        case _:
            raise AssertionError(f"nobody told the simulator about {name}{rest}")
