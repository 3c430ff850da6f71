"""What the scheduler tells others about a task."""

from tallystick.engine.journal import Entry
from tallystick.lifecycle.facts import Assigned, Fact, Initialized, Ordered, Started
from tallystick.poco.deal import Deal
from tallystick.poco.values import Address, DealId
from tallystick.scheduler.story import statuses_of, tell

ME = Address(b"\1" * 20)
DEAL = Deal(DealId(bytes(32)), start=10, time_unit=60, trust=1)


def test_a_deal_that_a_reorg_moved_keeps_the_story_of_its_task() -> None:
    """It is told again, and stands behind what happened before."""
    facts: list[Fact] = [Initialized(), Assigned(ME, 2), Started(ME), Ordered(DEAL, 0)]
    story = tell(Entry(n, "task", fact, float(n)) for n, fact in enumerate(facts, start=1))
    assert statuses_of(story, ME) == {"CREATED", "STARTED"}
