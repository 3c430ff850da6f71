"""The agenda is a function of the state: what it asks for is possible, and it ends."""

from collections.abc import Callable
from itertools import pairwise
from typing import TypeGuard

from hypothesis import given, settings
from hypothesis import strategies as st
from lifecycle_lives import DEAL, DIGESTS, PERMIT, TASK, VOTES, WORKERS, journals

from tallystick.lifecycle import agenda
from tallystick.lifecycle import facts as f
from tallystick.lifecycle.audit import Authorize, Conclude
from tallystick.lifecycle.replicate import BEFORE_VOTE, OVER, Status
from tallystick.lifecycle.task import Task, TaskStatus, advance, fold
from tallystick.poco.values import Address, Instant

Command = agenda.WorkerCommand | agenda.PoolCommand
instants = st.integers(0, DEAL.final_deadline + 100)


Debt = tuple[Address | None, Command]
"""Who owes what; nobody in particular is the scheduler."""


def owed(task: Task, now: Instant) -> set[Debt]:
    """Everything that anybody owes."""
    pool = {(None, command) for command in agenda.owed_by_pool(task, now)}
    workers = {(w, due) for w in WORKERS for due in agenda.owed_by_worker(task, w, now)}
    return pool | workers


def is_judgement(command: Command) -> TypeGuard[Conclude | Authorize]:
    """Whether it says of one worker what it is held to be, whatever else happens."""
    return isinstance(command, Conclude | Authorize)


def lived(facts: list[f.Fact]) -> Task:
    task = fold(facts)
    assert task is not None
    return task


def thresholds(task: Task) -> list[Instant]:
    """When time alone may change what is due."""
    room = agenda.headroom(task.deal)
    ends = [
        task.deal.contribution_deadline,
        task.deal.final_deadline,
        task.reveal_deadline or 0,
    ]
    uploads = [r.upload_deadline or 0 for r in task.replicates.values()]
    vote = task.deal.contribution_deadline - room - task.deal.time_unit // 2
    late = DEAL.final_deadline + 200
    return sorted({0, vote, *ends, *(end - room for end in ends), *uploads, late})


@settings(max_examples=60, deadline=None)
@given(journals())
def test_between_two_deadlines_nothing_changes(facts: list[f.Fact]) -> None:
    """No command contains the time, so none is new only because a second has passed."""
    task = lived(facts)
    for begin, end in pairwise(thresholds(task)):
        if end - begin > 1:
            first = owed(task, begin)
            assert all(
                owed(task, now) == first for now in {begin + 1, (begin + end) // 2, end - 1}
            )


@settings(max_examples=60, deadline=None)
@given(journals(), instants)
def test_what_is_due_can_be_done(facts: list[f.Fact], now: Instant) -> None:
    task = lived(facts)
    for debt in owed(task, now):
        advance(task, outcomes(debt))


@settings(max_examples=60, deadline=None)
@given(journals(), instants)
def test_a_worker_owes_one_thing_at_a_time(facts: list[f.Fact], now: Instant) -> None:
    task = lived(facts)
    for worker in WORKERS:
        assert len(list(agenda.owed_by_worker(task, worker, now))) <= 1
    judged = [each for each in agenda.owed_by_pool(task, now) if is_judgement(each)]
    others = [each for each in agenda.owed_by_pool(task, now) if not is_judgement(each)]
    assert len(others) <= 1, "but it may judge all of its workers at once"
    assert len({each.worker for each in judged}) == len(judged)


@settings(max_examples=60, deadline=None)
@given(journals(), instants)
def test_every_replicate_is_due_or_waits_or_is_over(facts: list[f.Fact], now: Instant) -> None:
    task = lived(facts)
    for worker, replicate in task.replicates.items():
        waits = replicate.status in (Status.CONTRIBUTED, Status.REVEALED, Status.UPLOADED)
        waits = waits or agenda.may_reopen(task, now)
        if replicate.status in OVER:
            assert not list(agenda.owed_by_worker(task, worker, now))
        elif task.status.over or not (waits or task.status is TaskStatus.UNSET):
            assert list(agenda.owed_by_worker(task, worker, now))


@settings(max_examples=60, deadline=None)
@given(journals(), instants, st.sampled_from([f.Finalized("/ipfs/Qm"), f.Claimed()]))
def test_after_the_end_everything_ends(
    facts: list[f.Fact], now: Instant, end: f.Finalized | f.Claimed
) -> None:
    """One act each, and nothing is owed any more. What was learned of a worker is written down
    after the end too; there is nobody left to let vote."""
    task = lived(facts)
    if task.status is TaskStatus.UNSET:
        task = advance(task, f.Initialized())
    if not task.status.over:
        task = advance(task, end if task.status is TaskStatus.REVEALING else f.Claimed())
    assert all(isinstance(due, Conclude) for due in agenda.owed_by_pool(task, now))
    for debt in owed(task, now):
        task = advance(task, outcomes(debt))
    assert owed(task, now) == set()
    assert all(r.status in OVER for r in task.replicates.values())


@settings(max_examples=60, deadline=None)
@given(journals())
def test_nobody_is_recruited_too_late_or_beyond_need(facts: list[f.Fact]) -> None:
    task = lived(facts)
    closing = task.deal.contribution_deadline - agenda.headroom(task.deal)
    assert not agenda.wants_worker(task, closing)
    pending = [r for r in task.in_status(*BEFORE_VOTE) if not isinstance(r.away, f.Lost)]
    if len(pending) >= 2 and not task.tally.groups:  # two new workers settle trust 2
        assert not agenda.wants_worker(task, 0)


def test_a_reopened_task_recruits_although_its_own_count_is_settled() -> None:
    task = lived(
        [
            f.Ordered(DEAL, 0),
            f.Initialized(),
            f.Contributed(WORKERS[0], VOTES[0], 4),
        ]
    )
    assert agenda.wants_worker(task, 0), "the chain saw no consensus, so one more is needed"


def test_another_winner_is_asked_when_the_upload_is_late() -> None:
    first, second, _ = WORKERS
    task = lived(
        [
            f.Ordered(DEAL, 0),
            f.Initialized(),
            *(f.Contributed(w, VOTES[0], 2) for w in (first, second)),
            f.ConsensusReached(VOTES[0], 200),
            *(f.Revealed(w, DIGESTS[0]) for w in (first, second)),
            f.UploadRequested(first, 150),
        ]
    )
    assert not list(agenda.owed_by_pool(task, 149))
    assert list(agenda.owed_by_pool(task, 150)) == [agenda.RequestUpload(TASK, second)]


def outcomes(debt: Debt) -> f.Fact:
    """The fact that doing what is owed brings about."""
    match debt:
        case Address() as worker, agenda.Do(step=step):
            return DONE[step](worker)
        case Address() as worker, agenda.Abort(cause=cause):
            return f.Aborted(worker, cause)
        case _, agenda.RequestUpload(worker=worker):
            return f.UploadRequested(worker, 500)
        case _, Conclude(worker=worker, agreed=agreed, owner=owner, counts=counts):
            return f.Audited(worker, agreed, owner, counts)
        case _, Authorize(worker=worker):
            return f.Authorized(worker, PERMIT)
        case _, agenda.Initialize() | agenda.ClaimUnopened():
            return f.Initialized()
        case _, agenda.Finalize(link=link):
            return f.Finalized(link)
        case _, agenda.Reopen():
            return f.Reopened()
        case _, agenda.Claim():
            return f.Claimed()
        case _:
            raise AssertionError(debt)


DONE: dict[f.Step, Callable[[Address], f.Fact]] = {
    f.Step.START: f.Started,
    f.Step.FETCH_APP: f.AppFetched,
    f.Step.FETCH_DATA: f.DataFetched,
    f.Step.COMPUTE: lambda worker: f.Computed(worker, DIGESTS[0], 0),
    f.Step.CHECK: f.Checked,
    f.Step.PUBLISH: lambda worker: f.Published(worker, "/ipfs/Qm"),
    f.Step.FINISH: lambda worker: f.Contributed(worker, VOTES[0], 2),
    f.Step.CONTRIBUTE: lambda worker: f.Contributed(worker, VOTES[0], 2),
    f.Step.REVEAL: lambda worker: f.Revealed(worker, DIGESTS[0]),
    f.Step.UPLOAD: lambda worker: f.Uploaded(worker, "/ipfs/Qm"),
    f.Step.COMPLETE: f.Completed,
}


def test_a_winner_that_never_heard_it_should_upload_completes_all_the_same() -> None:
    """It was away; another winner uploaded, and the task is paid."""
    away, other, _ = WORKERS
    task = lived(
        [
            f.Ordered(DEAL, 0),
            f.Initialized(),
            *(f.Contributed(w, VOTES[0], 2) for w in (away, other)),
            f.ConsensusReached(VOTES[0], 200),
            *(f.Revealed(w, DIGESTS[0]) for w in (away, other)),
            f.UploadRequested(away, 150),
            f.Finalized("/ipfs/Qm"),
            f.Completed(away),
        ]
    )
    assert task.replicates[away].status is Status.COMPLETED
