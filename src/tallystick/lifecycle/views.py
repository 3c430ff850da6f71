"""Replicates in the two vocabularies of the world. Names only: no rule lives here."""

from __future__ import annotations

from tallystick.lifecycle.facts import Lost, Recovering, Step
from tallystick.lifecycle.replicate import Replicate, Status
from tallystick.lifecycle.vocabulary import CANT, DONE, GRAPHS, ONGOING, UNDONE

STEP_NAMES = {
    Step.START: ("STARTING", "STARTED", "START_FAILED"),
    Step.FETCH_APP: ("APP_DOWNLOADING", "APP_DOWNLOADED", "APP_DOWNLOAD_FAILED"),
    Step.FETCH_DATA: ("DATA_DOWNLOADING", "DATA_DOWNLOADED", "DATA_DOWNLOAD_FAILED"),
    Step.COMPUTE: ("COMPUTING", "COMPUTED", "COMPUTE_FAILED"),
    Step.FINISH: (ONGOING, DONE, UNDONE),
    Step.CONTRIBUTE: ("CONTRIBUTING", "CONTRIBUTED", "CONTRIBUTE_FAILED"),
    Step.REVEAL: ("REVEALING", "REVEALED", "REVEAL_FAILED"),
    Step.UPLOAD: ("RESULT_UPLOADING", "RESULT_UPLOADED", "RESULT_UPLOAD_FAILED"),
    Step.COMPLETE: ("COMPLETING", "COMPLETED", "COMPLETE_FAILED"),
}
_VOTING = {Step.CHECK: Step.CONTRIBUTE, Step.PUBLISH: Step.FINISH}
_VOTING_ALONE = dict.fromkeys((Step.CHECK, Step.CONTRIBUTE, Step.PUBLISH), Step.FINISH)
"""v9 knows no check: it is part of contributing, at once with finalizing or not."""
_ACHIEVED = {
    Status.ASSIGNED: "CREATED",
    Status.STARTED: "STARTED",
    Status.APP_FETCHED: "APP_DOWNLOADED",
    Status.DATA_FETCHED: "DATA_DOWNLOADED",
    Status.COMPUTED: "COMPUTED",
    Status.CHECKED: "COMPUTED",
    Status.PUBLISHED: ONGOING,
    Status.CONTRIBUTED: "CONTRIBUTED",
    Status.REVEALED: "REVEALED",
    Status.UPLOAD_REQUESTED: "RESULT_UPLOAD_REQUESTED",
    Status.UPLOADED: "RESULT_UPLOADED",
    Status.COMPLETED: "COMPLETED",
    Status.REJECTED: "FAILED",
    Status.ABORTED: "ABORTED",
    Status.FAILED: "FAILED",
}
_SEED = {
    "STARTING": "RUNNING",
    "STARTED": "RUNNING",
    "START_FAILED": "FAILED",
    "COMPLETE_FAILED": "COMPLETED",
    ONGOING: "CONTRIBUTING",
    UNDONE: "CONTRIBUTE_FAILED",
}
_SEED_CHECKS = {
    "STAKE_TOO_LOW": "CANT_CONTRIBUTE_SINCE_STAKE_TOO_LOW",
    "TASK_NOT_ACTIVE": "CANT_CONTRIBUTE_SINCE_TASK_NOT_ACTIVE",
    "CONTRIBUTION_TIMEOUT": "CANT_CONTRIBUTE_SINCE_AFTER_DEADLINE",
    "CONTRIBUTION_ALREADY_SET": "CANT_CONTRIBUTE_SINCE_CONTRIBUTION_ALREADY_SET",
    "CHAIN_UNREACHABLE": "CANT_CONTRIBUTE_SINCE_CHAIN_UNREACHABLE",
    **dict.fromkeys(
        (
            *("DETERMINISM_HASH_NOT_FOUND", "POST_COMPUTE_COMPUTED_FILE_NOT_FOUND"),
            "POST_COMPUTE_RESULT_DIGEST_COMPUTATION_FAILED",
        ),
        "CANT_CONTRIBUTE_SINCE_DETERMINISM_HASH_NOT_FOUND",
    ),
    "TEE_EXECUTION_NOT_VERIFIED": "CANT_CONTRIBUTE_SINCE_TEE_EXECUTION_NOT_VERIFIED",
    "OUT_OF_GAS": "OUT_OF_GAS",
    "CANNOT_REVEAL": "CANT_REVEAL",
}
_SEED_ABORTS = {
    "CONSENSUS_REACHED": "ABORTED_ON_CONSENSUS_REACHED",
    "CONTRIBUTION_TIMEOUT": "ABORTED_ON_CONTRIBUTION_TIMEOUT",
}


def modern(replicate: Replicate) -> str:
    """The status as versions 3.2 to 9 name it; `replicate.cause` goes with it."""
    match replicate.away:
        case Lost():
            return "WORKER_LOST"
        case Recovering():
            return "RECOVERING"
        case None:
            pass
    if replicate.doing and replicate.doing is not Step.CHECK:
        return STEP_NAMES[_VOTING.get(replicate.doing, replicate.doing)][0]
    if replicate.failed:
        return STEP_NAMES[_stage(replicate, replicate.failed)][2]
    if replicate.alone and replicate.status in (Status.CONTRIBUTED, Status.REVEALED):
        return DONE
    return _ACHIEVED[replicate.status]


def _stage(replicate: Replicate, step: Step) -> Step:
    return (_VOTING_ALONE if replicate.alone else _VOTING).get(step, step)


def seed(replicate: Replicate) -> str:
    """The status as the page that the project started from names it (versions 3.0 and 3.1)."""
    return seed_names(replicate)[-1]


def seed_names(replicate: Replicate) -> tuple[str, ...]:
    """The same, after the names that it includes: a check that fails ends a stage first."""
    if replicate.away is None and replicate.held in _SEED_CHECKS:
        return (_SEED_CHECKS[replicate.held],)
    if replicate.doing is Step.COMPLETE:
        return ("RESULT_UPLOADED" if replicate.link else "REVEALED",)
    if replicate.away or replicate.doing not in (None, Step.CHECK):
        return (_in_seed(replicate),)
    match replicate.status:
        case Status.CHECKED:
            return ("CAN_CONTRIBUTE",)
        case Status.ABORTED if not (replicate.begun or replicate.revealed):
            return (_SEED_ABORTS.get(replicate.cause or "", "FAILED"),)
        case Status.ABORTED | Status.REJECTED:
            return ("FAILED",)
        case Status.FAILED if replicate.cause == "REVEAL_TIMEOUT" and not replicate.failed:
            return ("REVEAL_TIMEOUT",)
        case Status.UPLOAD_REQUESTED if replicate.failed and not replicate.begun:
            return ("RESULT_UPLOAD_REQUEST_FAILED",)
        case Status.FAILED if replicate.failed:
            return _seed_failure(replicate, replicate.failed)
        case _:
            return (_in_seed(replicate),)


def _in_seed(replicate: Replicate) -> str:
    name = _ACHIEVED[replicate.status] if modern(replicate) == DONE else modern(replicate)
    return _SEED.get(name, name)


def _seed_failure(replicate: Replicate, step: Step) -> tuple[str, ...]:
    """A step that failed, or a check before it: the vocabulary has its own names for those."""
    stage = _in_seed(replicate)
    check = _SEED_CHECKS.get(replicate.cause or "", stage)
    match step:
        case Step.CONTRIBUTE | Step.REVEAL | Step.FINISH | Step.PUBLISH if replicate.begun:
            return (stage,)
        case Step.REVEAL:
            return (check if check in ("CANT_REVEAL", "OUT_OF_GAS") else stage,)
        case Step.CHECK | Step.CONTRIBUTE if check == "OUT_OF_GAS":
            return ("CAN_CONTRIBUTE", check)
        case Step.CHECK | Step.CONTRIBUTE | Step.START if check.startswith(CANT):
            return (check,)
        case Step.FETCH_APP | Step.FETCH_DATA | Step.COMPUTE if check in GRAPHS["seed"][stage]:
            return (stage, check)
        case _:
            return (stage,)
