"""What becomes of a worker's report, and how it is answered.

To a worker of ours an answer says whether the report was placed; it knows by itself what comes
next. A v9 worker obeys the word that it gets, repeats a report until it gets one, and drops a
result that nobody can make again when it is told to abort.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from fastapi.responses import JSONResponse, Response

from tallystick.chain.records import ContributionState
from tallystick.lifecycle.agenda import WorkerCommand, owed_by_worker
from tallystick.lifecycle.facts import (
    Aborted,
    Began,
    Completed,
    Failed,
    IllegalFact,
    Step,
    WorkerFact,
)
from tallystick.lifecycle.replicate import Replicate, Status
from tallystick.lifecycle.task import Task, advance
from tallystick.poco.values import TaskId

if TYPE_CHECKING:
    from tallystick.scheduler.pool import Pool

Words = Callable[[WorkerCommand | None], str]
"""The next action as a worker is told it."""
_PROVED_BY_CHAIN: Final = (Step.CONTRIBUTE, Step.REVEAL)


def unplaced(status: str) -> Response:
    """To a report of a replicate that there is none of. Whoever says that it has dropped one is
    not told to drop it: it would say so again."""
    if status == "ABORTED":
        return JSONResponse("PLEASE_WAIT", status_code=208)
    return JSONResponse("PLEASE_ABORT", status_code=202)


def is_known(task: Task, fact: WorkerFact | None, *, had: bool) -> bool:
    """Whether a report says nothing new; `had`: its status is one that the replicate has had.

    Whoever is known to be done has said so, whatever it was that told us. When the chain has
    taken back what an end or an upload rested on, the replicate has lost it again, and its
    worker tells it a second time: that has to be placed, or the replicate has no end here.
    """
    if isinstance(fact, Completed) and task.replicates[fact.worker].status is Status.COMPLETED:
        return True
    if not had:
        return False
    if fact is None or isinstance(fact, Began):
        return True
    try:
        return advance(task, fact) == task
    except IllegalFact:
        return True


async def placed(
    pool: Pool, task: TaskId, fact: WorkerFact | None, *, words: Words, ours: bool
) -> Response:
    """Record what a worker reports, and answer in `words` with what comes next. Raises
    Unavailable."""
    if fact is None:
        return JSONResponse("PLEASE_WAIT")
    if not ours and isinstance(fact, Failed) and await _done_all_the_same(pool, task, fact):
        return JSONResponse("PLEASE_WAIT", status_code=208)
    try:
        after = pool.engine.record(str(task), fact)
    except IllegalFact:
        return unplaced("ABORTED" if isinstance(fact, Aborted) and not ours else "")
    if isinstance(fact, Began):
        return JSONResponse("PLEASE_CONTINUE")
    mine = after.replicates[fact.worker]
    if not ours and isinstance(fact, Failed) and mine.status is Status.FAILED:
        refused = fact.step in _PROVED_BY_CHAIN
        return JSONResponse("PLEASE_ABORT", status_code=202 if refused else 200)
    if isinstance(fact, Completed):  # whoever is done has nothing to do, whatever is known here
        return JSONResponse(words(None))
    due = next(owed_by_worker(after, fact.worker, pool.clock.now()), None)
    return JSONResponse(words(due))


async def _done_all_the_same(pool: Pool, task: TaskId, fact: Failed) -> bool:
    """Whether the step that a worker gave up has succeeded: its transaction was mined later, or
    it was asked twice. It is not to drop the result then, since others may still need it."""
    known = pool.engine.states.get(str(task))
    mine = known.replicates.get(fact.worker) if known else None
    if mine is None:
        return False
    if _had(mine, fact.step):
        return True
    if fact.step not in _PROVED_BY_CHAIN:
        return False
    proved = await pool.hub.contribution(task, fact.worker)
    if proved is None:
        return False
    done = [ContributionState.PROVED]
    if fact.step is Step.CONTRIBUTE:
        done.append(ContributionState.CONTRIBUTED)
    return proved.state in done


def _had(mine: Replicate, step: Step) -> bool:
    match step:
        case Step.CONTRIBUTE:
            return mine.vote is not None
        case Step.REVEAL:
            return mine.revealed
        case Step.UPLOAD:
            return mine.link is not None
        case _:
            return False
