"""Facts in v9 words, and back. Names only: no rule lives here."""

from __future__ import annotations

from typing import Final

from tallystick.lifecycle.agenda import Abort, Do, WorkerCommand
from tallystick.lifecycle.facts import (
    Aborted,
    AppFetched,
    Began,
    Checked,
    Completed,
    Computed,
    DataFetched,
    Failed,
    Held,
    Published,
    Resumed,
    Started,
    Step,
    Uploaded,
    WorkerFact,
)
from tallystick.lifecycle.replicate import VOTED_ON
from tallystick.lifecycle.views import STEP_NAMES
from tallystick.lifecycle.vocabulary import DONE
from tallystick.poco.values import Address, Digest
from tallystick.wire.scheduler import ComputeLogs, StatusDetails, StatusUpdate

_PART_OF: Final = {Step.PUBLISH: Step.FINISH}
"""v9 has one name for publishing, voting and finalizing at once."""
_DONE: Final[dict[type[WorkerFact], Step]] = {
    Started: Step.START,
    AppFetched: Step.FETCH_APP,
    DataFetched: Step.FETCH_DATA,
    Computed: Step.COMPUTE,
    Uploaded: Step.UPLOAD,
    Completed: Step.COMPLETE,
}
_BEGUN: Final = {names[0]: step for step, names in STEP_NAMES.items()}
_ENDED: Final = {STEP_NAMES[step][1]: kind for kind, step in _DONE.items()}
_FAILED: Final = {names[2]: step for step, names in STEP_NAMES.items()}


class UnknownStatus(ValueError):
    """A status that no worker sends."""


def to_update(
    fact: WorkerFact,
    logs: ComputeLogs | None = None,
    *,
    alone: bool = False,
    digest_first: bool = False,
) -> StatusUpdate | None:
    """How a worker reports `fact`; `logs` go with what was computed, `alone` says whether its
    vote finalizes the task, and with `digest_first` the digest is handed in. None for what v9
    has no name for: what a worker checks and waits for is its own business, unless it fails.
    """
    match fact:
        case Began(step=Step.CHECK) | Checked() | Published() | Held() | Resumed():
            return None
        case Began(step=step):
            return StatusUpdate(status=STEP_NAMES[_PART_OF.get(step, step)][0])
        case Failed(step=step, cause=cause, digest=digest):
            vote = Step.FINISH if alone else Step.CONTRIBUTE
            stage = vote if step is Step.CHECK else _PART_OF.get(step, step)
            handed = str(digest) if digest and digest_first else None
            details = StatusDetails(cause=cause, compute_logs=logs, result_digest=handed)
            return StatusUpdate(status=STEP_NAMES[stage][2], details=details)
        case Aborted(cause=cause):
            return StatusUpdate(status="ABORTED", details=StatusDetails(cause=cause))
        case Computed(digest=digest, exit_code=exit_code):
            handed = str(digest) if digest and digest_first else None
            details = StatusDetails(
                exit_code=exit_code, compute_logs=logs, result_digest=handed
            )
            return StatusUpdate(status="COMPUTED", details=details)
        case Uploaded(link=link, callback=told):
            details = StatusDetails(result_link=link, chain_callback_data=told or None)
            return StatusUpdate(status="RESULT_UPLOADED", details=details)
        case Started() | AppFetched() | DataFetched() | Completed():
            return StatusUpdate(status=STEP_NAMES[_DONE[type(fact)]][1])


def from_update(worker: Address, update: StatusUpdate) -> WorkerFact | None:
    """What `worker` asserts; None for what only the chain may tell, which is never believed.

    Raises UnknownStatus for a name that no worker sends.
    """
    status, details = update.status, update.details or StatusDetails()
    if status in _BEGUN:
        return Began(worker, _BEGUN[status])
    if status in _FAILED:
        step = _FAILED[status]
        digest = _digest(details) if step in VOTED_ON else None
        return Failed(worker, step, details.cause or "UNKNOWN", digest)
    if status == "ABORTED":
        return Aborted(worker, details.cause or "UNKNOWN")
    if status in ("CONTRIBUTED", "REVEALED", DONE):
        return None
    return _achieved(worker, status, details)


def _digest(details: StatusDetails) -> Digest | None:
    return Digest(details.result_digest) if details.result_digest else None


def _achieved(worker: Address, status: str, details: StatusDetails) -> WorkerFact:
    kind = _ENDED.get(status)
    if kind is Computed:
        return Computed(worker, _digest(details), details.exit_code)
    if kind is Uploaded:
        told = details.chain_callback_data or ""
        return Uploaded(worker, details.result_link or "", told)
    if kind is Started:
        return Started(worker)
    if kind is AppFetched:
        return AppFetched(worker)
    if kind is DataFetched:
        return DataFetched(worker)
    if kind is Completed:
        return Completed(worker)
    raise UnknownStatus(f"{status} is not a status that a worker reports.")


_ACTIONS: Final = {
    Step.START: "PLEASE_START",
    Step.FETCH_APP: "PLEASE_DOWNLOAD_APP",
    Step.FETCH_DATA: "PLEASE_DOWNLOAD_DATA",
    Step.COMPUTE: "PLEASE_COMPUTE",
    Step.CHECK: "PLEASE_CONTRIBUTE",
    Step.PUBLISH: "PLEASE_CONTRIBUTE_AND_FINALIZE",
    Step.FINISH: "PLEASE_CONTRIBUTE_AND_FINALIZE",
    Step.CONTRIBUTE: "PLEASE_CONTRIBUTE",
    Step.REVEAL: "PLEASE_REVEAL",
    Step.UPLOAD: "PLEASE_UPLOAD",
    Step.COMPLETE: "PLEASE_COMPLETE",
}


def next_action(due: WorkerCommand | None) -> str:
    """The worker's next action in v9 words."""
    match due:
        case None:
            return "PLEASE_WAIT"
        case Abort():
            return "PLEASE_ABORT"
        case Do(step=step):
            return _ACTIONS[step]
