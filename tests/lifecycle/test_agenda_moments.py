"""When a command becomes due and when it stops being due, to the second.

Deal of 60 s units that starts at 0: votes until 420, end at 600, 10 s of headroom.
"""

from dataclasses import replace

import pytest
from lifecycle_lives import DEAL, DIGESTS, TASK, VOTES, WORKERS

from tallystick.lifecycle import agenda
from tallystick.lifecycle import facts as f
from tallystick.lifecycle.task import Task, fold

ME, OTHER, NOBODY = WORKERS
OPEN: list[f.Fact] = [f.Ordered(replace(DEAL, worker_stake=5), 0), f.Initialized()]
WON: list[f.Fact] = [
    *OPEN,
    f.Contributed(OTHER, VOTES[1], 2),
    f.Contributed(ME, VOTES[0], 2),
    f.ConsensusReached(VOTES[0], 200),
]
ASKED: list[f.Fact] = [*WON, f.Revealed(ME, DIGESTS[0]), f.UploadRequested(ME, 150)]


def lived(facts: list[f.Fact]) -> Task:
    task = fold(facts)
    assert task is not None
    return task


def steps(facts: list[f.Fact], now: int) -> list[object]:
    return [
        due.step if isinstance(due, agenda.Do) else due.cause
        for due in agenda.owed_by_worker(lived(facts), ME, now)
    ]


@pytest.mark.parametrize(
    ("facts", "now", "due"),
    [
        ([*OPEN, f.Assigned(ME, 2)], 409, [f.Step.START]),
        ([*OPEN, f.Assigned(ME, 2)], 410, ["CONTRIBUTION_TIMEOUT"]),
        (WON, 189, [f.Step.REVEAL]),
        (WON, 190, []),
        (OPEN, 0, []),
        (ASKED, 149, [f.Step.UPLOAD]),
    ],
)
def test_what_a_worker_owes(facts: list[f.Fact], now: int, due: list[object]) -> None:
    assert steps(facts, now) == due


def test_a_vote_that_lost_is_not_revealed() -> None:
    assert list(agenda.owed_by_worker(lived(WON), OTHER, 100)) == []


@pytest.mark.parametrize("facts", [WON, WON[:4]])
def test_whoever_has_a_stake_claims_a_unit_after_the_end(facts: list[f.Fact]) -> None:
    task = lived(facts)
    assert list(agenda.stake_to_claim(task, ME, 659)) == []
    assert list(agenda.stake_to_claim(task, ME, 660)) == [agenda.Claim(TASK)]
    assert list(agenda.stake_to_claim(task, NOBODY, 660)) == []


def test_without_a_stake_or_a_vote_or_after_the_end_nobody_claims() -> None:
    free = [f.Ordered(DEAL, 0), *WON[1:]]
    unvoted = [*OPEN, f.Assigned(ME, 2)]
    for facts in (free, unvoted, [*WON, f.Claimed()]):
        assert list(agenda.stake_to_claim(lived(facts), ME, 660)) == []
