"""Causes in words: what a code like STAKE_TOO_LOW means to whoever looks at a task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_SENTENCES: Final[Mapping[str, str]] = {
    "STAKE_TOO_LOW": "The worker's free deposit is less than a vote locks.",
    "OUT_OF_GAS": "The worker's wallet cannot pay for the transaction.",
    "TASK_NOT_ACTIVE": "Others had decided the task already.",
    "CONSENSUS_REACHED": "Other votes had decided the task first.",
    "CONTRIBUTION_TIMEOUT": "The time for votes was over.",
    "AFTER_DEADLINE": "The time for votes was over.",
    "CONTRIBUTION_ALREADY_SET": "This wallet had voted on the task already.",
    "TASK_ALREADY_CONTRIBUTED": "This wallet had voted on the task already.",
    "CHAIN_UNREACHABLE": "No node of the chain answered the worker for too long.",
    "WORKERPOOL_AUTHORIZATION_NOT_FOUND": "The worker had no permission of the pool to vote.",
    "DETERMINISM_HASH_NOT_FOUND": "Nothing said what the app computed.",
    "POST_COMPUTE_COMPUTED_FILE_NOT_FOUND": "The app left no computed.json.",
    "POST_COMPUTE_RESULT_DIGEST_COMPUTATION_FAILED": "The app's output could not be digested.",
    "TEE_EXECUTION_NOT_VERIFIED": "An enclave was asked for and did not sign.",
    "APP_IMAGE_DOWNLOAD_FAILED": "The app's image could not be fetched.",
    "APP_NOT_FOUND_LOCALLY": "The app's image was not on the machine when it was needed.",
    "APP_COMPUTE_TIMEOUT": "The app ran longer than the deal's category allows.",
    "APP_COMPUTE_FAILED": "The app could not be run on this machine.",
    "DATASET_FILE_DOWNLOAD_FAILED": "The dataset could not be fetched.",
    "DATASET_FILE_BAD_CHECKSUM": "The dataset is not the one whose checksum is on the chain.",
    "INPUT_FILES_DOWNLOAD_FAILED": "An input file could not be fetched.",
    "RESULT_LINK_MISSING": "The worker published no result in its time.",
    "REVEAL_TIMEOUT": "The vote was not revealed in time.",
    "CANNOT_REVEAL": "The digest that was voted for is not on the worker's machine any more.",
    "AUDIT_DIFFERED": "Others computed something else than this worker.",
    "ABORTED_BY_WORKER": "The worker gave the task up.",
    "PRICE_TOO_LOW": "The deal pays less than the worker's own policy asks for.",
    "LOW_PROFIT": "Gas would cost more than the worker's own policy allows.",
    "PROFIT_UNKNOWN": "The worker could not tell whether the deal pays.",
    "IMAGE_DENIED": "The worker's own policy refuses this app.",
    "IMAGE_NOT_ALLOWED": "The worker's own policy allows other apps only.",
    "DENIED": "The worker's own policy refuses this deal.",
    "NETWORK_IMPOSSIBLE": "The worker cannot give the app the network that it should have.",
    "DISK_FULL": "The worker's disk was full.",
    "BROKEN_MACHINE": "The worker's machine could not run anything.",
}


def in_words(cause: str | None) -> str:
    """What this cause means; empty where there is nothing to add to the code itself."""
    return _SENTENCES.get(cause or "", "")
