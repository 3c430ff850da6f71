"""What a winner tells of an upload whose request a reorg has taken back."""

from __future__ import annotations

from functools import reduce

import pytest

from tallystick.lifecycle import facts as f
from tallystick.lifecycle.replicate import OVER, Status
from tallystick.lifecycle.task import Task, advance
from tallystick.poco.contribution import result_hash
from tallystick.poco.deal import Deal
from tallystick.poco.values import Address, DealId, Digest

ME = Address(b"\1" * 20)
DEAL = Deal(DealId(bytes(32)), start=0, time_unit=60, trust=1)
TASK, DIGEST = DEAL.task_id(0), Digest(b"\7" * 32)
VOTE = result_hash(TASK, DIGEST)
WON: tuple[f.Fact, ...] = (
    f.Ordered(DEAL, 0),
    f.Initialized(),
    f.Assigned(ME, 2),
    f.Started(ME),
    f.AppFetched(ME),
    f.DataFetched(ME),
    f.Computed(ME, DIGEST, 0),
    f.Contributed(ME, VOTE, 2),
    f.ConsensusReached(VOTE, 200),
)
TRIED = f.Failed(ME, f.Step.UPLOAD, "RESULT_LINK_MISSING")


def told(*facts: f.Fact) -> Task:
    """The task after `facts`, each of which must be legal."""
    task = reduce(advance, facts, None)
    assert task is not None
    return task


@pytest.mark.parametrize("end", [(), (f.Finalized("/ipfs/Qm"),)])
def test_a_failed_upload_ends_the_replicate_though_its_request_is_gone(end: tuple[f.Fact, ...]):
    task = told(*WON, f.Revealed(ME, DIGEST), *end, TRIED)
    mine = task.replicates[ME]
    assert mine.status is Status.FAILED
    assert mine.status in OVER
    assert mine.revealed


def test_nobody_fails_to_upload_before_the_reveal():
    with pytest.raises(f.IllegalFact):
        told(*WON, TRIED)
