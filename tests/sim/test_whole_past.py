"""New schedulers in a pool with a past: nobody is given a task that ended long ago."""

from __future__ import annotations

from collections import Counter

import pytest

from tallystick.engine.clock import ChainClock
from tallystick.poco.ledger import ChainStatus
from tallystick.sim.agreement import Broken
from tallystick.sim.odds import Machine, Plan, Purchase
from tallystick.sim.whole.faults import Faults, WholePlan
from tallystick.sim.whole.world import live


def pool(seed: int) -> WholePlan:
    """Six tasks end soon. Another, that two machines cannot decide, is claimed after many a
    scheduler with an empty folder."""
    purchases = (
        Purchase(at=1, time_unit=40, trust=1, lots=(6,)),
        Purchase(at=2, time_unit=12, trust=5, lots=(1,)),
    )
    plan = Plan(seed=seed, purchases=purchases, machines=(Machine(), Machine()))
    return WholePlan(plan=plan, faults=Faults(replaced=0.1, outage=2.0))


def test_a_new_scheduler_reads_the_past_before_it_gives_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = live(pool(6))
    ends = Counter(task.status for task in world.blocks.ledger.tasks.values())
    assert ends == {ChainStatus.COMPLETED: 6, ChainStatus.FAILED: 1}
    assert world.story().count("is replaced: the new one knows nothing") > 5
    # The same worlds, where the past is given away while it is read.
    monkeypatch.setattr(ChainClock, "known", property(lambda clock: clock._head > 0))
    with pytest.raises(Broken, match=r"is given 0x\w+, which ended long ago"):
        _ = [live(pool(seed)) for seed in (6, 4, 3, 1)]
