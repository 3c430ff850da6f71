"""Who is given a task that is about to be reopened waits, and does not hand it back."""

from __future__ import annotations

from functools import reduce

import pytest

from tallystick.lifecycle import agenda
from tallystick.lifecycle import facts as f
from tallystick.lifecycle.task import Task, advance
from tallystick.poco.contribution import result_hash
from tallystick.poco.deal import Deal
from tallystick.poco.values import Address, DealId, Digest

SHY, ME = Address(b"\1" * 20), Address(b"\2" * 20)
DEAL = Deal(DealId(bytes(32)), start=0, time_unit=60, trust=1)
TASK, DIGEST = DEAL.task_id(0), Digest(b"\7" * 32)
VOTE = result_hash(TASK, DIGEST)
DEADLINE = 200
GIVEN: tuple[f.Fact, ...] = (
    f.Ordered(DEAL, 0),
    f.Initialized(),
    f.Contributed(SHY, VOTE, 2),
    f.ConsensusReached(VOTE, DEADLINE),
    f.Assigned(ME, 2),
)


def told(*facts: f.Fact) -> Task:
    """The task after `facts`, each of which must be legal."""
    task = reduce(advance, facts, None)
    assert task is not None
    return task


def test_an_assignment_that_is_known_before_the_reopening_is_kept():
    behind = told(*GIVEN)
    assert list(agenda.owed_by_worker(behind, ME, DEADLINE)) == []
    after = told(*GIVEN, f.Reopened())
    assert list(agenda.owed_by_worker(after, ME, DEADLINE)) == [
        agenda.Do(TASK, f.Step.START, None)
    ]


@pytest.mark.parametrize(
    ("more", "now"),
    [((), DEADLINE - 1), ((f.Revealed(SHY, DIGEST),), DEADLINE), ((), 7 * 60)],
    ids=["it may still be revealed", "it was revealed", "no vote could be in time"],
)
def test_a_consensus_that_stays_ends_the_others(more: tuple[f.Fact, ...], now: int):
    found = list(agenda.owed_by_worker(told(*GIVEN, *more), ME, now))
    assert found == [agenda.Abort(TASK, "CONSENSUS_REACHED")]
