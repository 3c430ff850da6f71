"""What a pool counts of its tasks."""

from tallystick.lifecycle.facts import Assigned, Claimed, Fact, Initialized, Ordered, Started
from tallystick.lifecycle.replicate import Status
from tallystick.lifecycle.task import fold
from tallystick.poco.deal import Deal
from tallystick.poco.values import Address, DealId
from tallystick.scheduler.census import Count

ONE, OTHER = Address(b"\1" * 20), Address(b"\2" * 20)
BEGUN: tuple[Fact, ...] = (
    Ordered(Deal(DealId(bytes(32)), start=10, time_unit=60, trust=1), 0),
    Initialized(),
    Assigned(ONE, 2),
    Assigned(OTHER, 2),
    Started(ONE),
)


def count(*facts: Fact) -> Count:
    counted, task = Count(at=0.0), fold(facts)
    assert task is not None
    counted.add(task)
    return counted


def test_replicates_are_counted_while_their_task_is_open():
    assert count(*BEGUN).replicates == {Status.ASSIGNED: 1, Status.STARTED: 1}


def test_who_never_heard_of_a_task_that_has_ended_is_not_waited_for():
    """Found in a whole world, seed 20111: each message to a worker was lost until the end."""
    ended = count(*BEGUN, Claimed())
    assert ended.tasks == {"FAILED": 1}
    assert not ended.replicates
