"""What v9 workers are told that said they have dropped a task, while their vote stands."""

from __future__ import annotations

from functools import reduce
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tallystick.lifecycle import facts as f
from tallystick.lifecycle.task import Task, advance
from tallystick.poco.contribution import result_hash
from tallystick.poco.deal import Deal
from tallystick.poco.values import Address, DealId, Digest
from tallystick.scheduler.channel.bodies import notices
from tallystick.scheduler.channel.notice import ABORT, REVEAL, Notice
from tallystick.scheduler.recovery import recovered

ME = Address(b"\1" * 20)
DEAL = Deal(DealId(bytes(32)), start=0, time_unit=60, trust=1)
TASK, DIGEST = DEAL.task_id(0), Digest(b"\7" * 32)
VOTE, WRONG = result_hash(TASK, DIGEST), result_hash(TASK, Digest(b"\6" * 32))
DROPPED = f.Aborted(ME, "CONTRIBUTION_TIMEOUT")


def voted(*facts: f.Fact) -> Task:
    before = (f.Ordered(DEAL, 0), f.Initialized(), f.Assigned(ME, 2))
    task = reduce(advance, (*before, f.Contributed(ME, VOTE, 2), *facts), None)
    assert task is not None
    return task


def words(task: Task, now: int) -> list[str]:
    """What a worker that starts again is told about it."""
    pool = SimpleNamespace(
        clock=SimpleNamespace(now=lambda: now),
        openings=SimpleNamespace(held_by=lambda _: [task]),
        authorization=lambda *_: None,
    )
    books = SimpleNamespace(unended=lambda _: [], consensus_block=lambda _: 7)
    told = recovered(cast("Any", pool), cast("Any", books), ME)
    return [each.task_notification_type for each in told]


LOST, LATE = f.ConsensusReached(WRONG, 500), 420


@pytest.mark.parametrize(
    ("facts", "cause", "again"),
    [
        ((), "CONTRIBUTION_TIMEOUT", "PLEASE_ABORT"),
        ((LOST,), "CONSENSUS_REACHED", "PLEASE_REVEAL"),
    ],
)
def test_nobody_is_asked_to_drop_it_twice(
    facts: tuple[f.Fact, ...], cause: str, again: str
) -> None:
    assert list(notices(voted(*facts), LATE)) == [Notice(ABORT, ME, cause)]
    assert words(voted(*facts), LATE) == [again]
    for dropped in (voted(*facts, DROPPED), voted(DROPPED, *facts)):
        assert list(notices(dropped, LATE)) == []
        assert words(dropped, LATE) == []


def test_a_winner_is_asked_to_reveal_though_it_said_that_it_dropped_it() -> None:
    won = f.ConsensusReached(VOTE, 500)
    for task in (voted(DROPPED, won), voted(won, DROPPED)):
        assert list(notices(task, LATE)) == [Notice(REVEAL, ME)]
        assert words(task, LATE) == ["PLEASE_REVEAL"]
