"""What a worker must never lose: the digest of a vote that may be on its way."""

from functools import reduce

import pytest

from tallystick.lifecycle import agenda
from tallystick.lifecycle import facts as f
from tallystick.lifecycle.task import Task, advance
from tallystick.poco.contribution import result_hash
from tallystick.poco.deal import Deal
from tallystick.poco.values import Address, DealId, Digest

ME = Address(b"\1" * 20)
DEAL = Deal(DealId(bytes(32)), start=0, time_unit=60, trust=1)
TASK = DEAL.task_id(0)
DIGEST = Digest(b"\7" * 32)
VOTE = result_hash(TASK, DIGEST)


def told(*facts: f.Fact) -> Task:
    """The task after `facts`, each of which must be legal."""
    task = reduce(advance, facts, None)
    assert task is not None
    return task


COMPUTED: tuple[f.Fact, ...] = (
    f.Ordered(DEAL, 0),
    f.Initialized(),
    f.Assigned(ME, 2),
    f.Started(ME),
    f.AppFetched(ME),
    f.DataFetched(ME),
    f.Computed(ME, DIGEST, 0),
)
MINED: tuple[f.Fact, ...] = (f.Contributed(ME, VOTE, 2), f.ConsensusReached(VOTE, 200))


@pytest.mark.parametrize(
    "gave_up",
    [
        (f.Began(ME, f.Step.CONTRIBUTE), f.Failed(ME, f.Step.CONTRIBUTE, "OUT_OF_GAS")),
        (f.Aborted(ME, "CONTRIBUTION_TIMEOUT"),),
    ],
)
def test_a_vote_mined_after_its_worker_gave_up_is_revealed(gave_up: tuple[f.Fact, ...]):
    task = told(*COMPUTED, *gave_up, *MINED)
    owed = list(agenda.owed_by_worker(task, ME, now=100))
    assert owed == [agenda.Do(TASK, f.Step.REVEAL, DIGEST)]


def test_a_failed_upload_leaves_the_digest():
    task = told(
        *COMPUTED,
        *MINED,
        f.Revealed(ME, DIGEST),
        f.UploadRequested(ME, 300),
        f.Began(ME, f.Step.UPLOAD),
        f.Failed(ME, f.Step.UPLOAD, "RESULT_LINK_MISSING"),
    )
    assert task.replicates[ME].digest == DIGEST
