"""What a v9 scheduler and a v9 result proxy take from workers, field by field and type by type.

Written from sections 1.5, 1.7, 1.11, 3, 4.1, 4.2 and 6.9 of the wire protocol. Spring passes
over fields that it does not know; here they are refused, as a worker should send none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Reader = Callable[[Any, str], None]

ZERO = "0x" + "0" * 40
ALLOWED: Mapping[str, list[str]] = json.loads(
    (Path(__file__).parents[1] / "lifecycle" / "transitions.json").read_text()
)["8.1-9.x"]
"""Which status may follow which (4.3), from the tables of the description."""
STATUSES = tuple(ALLOWED)
BY_SCHEDULER = ("CREATED", "RESULT_UPLOAD_REQUESTED", "WORKER_LOST", "RECOVERING", "FAILED")
"""Statuses that no worker reports."""

_CHAIN = (
    "CHAIN_UNREACHABLE BLOCK_NOT_REACHED STAKE_TOO_LOW OUT_OF_GAS TASK_NOT_ACTIVE"
    " TASK_DESCRIPTION_INVALID TASK_DESCRIPTION_NOT_FOUND CONTRIBUTION_ALREADY_SET"
    " CONSENSUS_REACHED CHAIN_RECEIPT_NOT_VALID CONSENSUS_BLOCK_MISSING"
)
_DOWNLOAD = (
    "APP_IMAGE_DOWNLOAD_FAILED INPUT_FILES_DOWNLOAD_FAILED DATASET_FILE_DOWNLOAD_FAILED"
    " DATASET_FILE_BAD_CHECKSUM"
)
_COMPUTE = "APP_NOT_FOUND_LOCALLY APP_COMPUTE_FAILED APP_COMPUTE_TIMEOUT"
_POST = (
    "IMAGE_MISSING TASK_ID_MISSING EXIT_REPORTING_FAILED TIMEOUT WORKER_ADDRESS_MISSING"
    " TEE_CHALLENGE_PRIVATE_KEY_MISSING INVALID_TEE_SIGNATURE ENCRYPTION_PUBLIC_KEY_MISSING"
    " MALFORMED_ENCRYPTION_PUBLIC_KEY ENCRYPTION_FAILED STORAGE_TOKEN_MISSING"
    " COMPUTED_FILE_NOT_FOUND RESULT_DIGEST_COMPUTATION_FAILED OUT_FOLDER_ZIP_FAILED"
    " TOO_LONG_RESULT_FILE_NAME RESULT_FILE_NOT_FOUND DROPBOX_UPLOAD_FAILED"
    " IPFS_UPLOAD_FAILED SEND_COMPUTED_FILE_FAILED FAILED_UNKNOWN_ISSUE"
)
_OTHERS = (
    "TEE_NOT_SUPPORTED DETERMINISM_HASH_NOT_FOUND ENCLAVE_SIGNATURE_NOT_FOUND"
    " WORKERPOOL_AUTHORIZATION_NOT_FOUND RESULT_LINK_MISSING TRUST_NOT_1"
    " TASK_ALREADY_CONTRIBUTED CONTRIBUTION_TIMEOUT REVEAL_TIMEOUT TEE_PREPARATION_FAILED"
    " UNKNOWN_SMS GET_TEE_SERVICES_CONFIGURATION_FAILED ABORTED_BY_WORKER CANNOT_REVEAL"
    " UNKNOWN"
)
CAUSES = frozenset(
    [
        *" ".join((_CHAIN, _DOWNLOAD, _COMPUTE, _OTHERS)).split(),
        *(f"POST_COMPUTE_{word}" for word in _POST.split()),
    ]
)
"""Causes of a worker without enclaves (4.2)."""


class BadBody(ValueError):
    """A reader of Java would not take this, or would take it for something else."""


def text(told: Any, what: str) -> None:
    if not isinstance(told, str):
        raise BadBody(f"{what} is no string: {told!r}")


def integer(told: Any, what: str) -> None:
    if isinstance(told, bool) or not isinstance(told, int) or abs(told) >= 1 << 31:
        raise BadBody(f"{what} is no int: {told!r}")


def long(told: Any, what: str) -> None:
    if isinstance(told, bool) or not isinstance(told, int) or abs(told) >= 1 << 63:
        raise BadBody(f"{what} is no long: {told!r}")


def flag(told: Any, what: str) -> None:
    if not isinstance(told, bool):
        raise BadBody(f"{what} is no boolean: {told!r}")


def matching(pattern: str) -> Reader:
    def reader(told: Any, what: str) -> None:
        if not isinstance(told, str) or not re.fullmatch(pattern, told):
            raise BadBody(f"{what} does not look like {pattern}: {told!r}")

    return reader


def one_of(words: Any) -> Reader:
    def reader(told: Any, what: str) -> None:
        if told not in words:
            raise BadBody(f"{what} is none of the words that Java knows: {told!r}")

    return reader


def perhaps(reader: Reader) -> Reader:
    """The same, or null."""
    return lambda told, what: None if told is None else reader(told, what)


def entity(fields: Mapping[str, Reader], *needed: str) -> Reader:
    """An object with these fields and no other; the `needed` ones may not be missing."""

    def reader(told: Any, what: str) -> None:
        if not isinstance(told, dict):
            raise BadBody(f"{what} is no object: {told!r}")
        if unknown := set(told) - set(fields):
            raise BadBody(f"{what} has fields that v9 does not know: {sorted(unknown)}")
        if missing := set(needed) - set(told):
            raise BadBody(f"{what} lacks {sorted(missing)}")
        for name, value in told.items():
            fields[name](value, f"{what}.{name}")

    return reader


HASH = matching("0x[0-9a-f]{64}")
WALLET = matching("0x[0-9a-f]{40}")
SIGNATURE = entity({"value": matching("0x[0-9a-f]{128}(1b|1c)")}, "value")
WORKER = entity(
    {
        "name": text,
        "walletAddress": WALLET,
        "os": text,
        "cpu": text,
        "cpuNb": integer,
        "memorySize": integer,
        "gpuEnabled": flag,
        "teeEnabled": flag,
        "tdxEnabled": flag,
    },
    *("name", "walletAddress", "os", "cpu", "cpuNb", "memorySize", "gpuEnabled"),
)
_DETAILS: Mapping[str, Reader] = {
    "chainReceipt": entity({"blockNumber": long, "txHash": perhaps(HASH)}, "blockNumber"),
    "resultLink": text,
    "chainCallbackData": matching("(0x([0-9a-f]{2})*)?"),
    "errorMessage": text,
    "cause": one_of(CAUSES),
    "computeLogs": entity(
        {"walletAddress": perhaps(WALLET), "stdout": perhaps(text), "stderr": perhaps(text)}
    ),
    "exitCode": integer,
    "teeSessionGenerationError": one_of(()),
}
UPDATE = entity(
    {
        "status": one_of(set(STATUSES) - set(BY_SCHEDULER)),
        "modifier": perhaps(one_of(("WORKER",))),
        "date": perhaps(long),
        "details": perhaps(entity({name: perhaps(each) for name, each in _DETAILS.items()})),
        "success": flag,
    },
    "status",
)
AUTHORIZATION = entity(
    {
        "chainTaskId": HASH,
        "dealId": HASH,
        "taskIndex": integer,
        "workerWallet": WALLET,
        "enclaveChallenge": WALLET,
        "signature": SIGNATURE,
    },
    *("chainTaskId", "workerWallet", "enclaveChallenge", "signature"),
)
RESULT = entity(
    {
        "chainTaskId": HASH,
        "dealId": HASH,
        "taskIndex": integer,
        "image": perhaps(text),
        "cmd": perhaps(text),
        "zip": matching("[A-Za-z0-9+/]+={0,2}"),
        "deterministHash": perhaps(HASH),
        "enclaveSignature": matching("0x[0-9a-f]{130}"),
    },
    *("chainTaskId", "zip"),
)

_LOG_LIMIT = 100_000


def read(body: bytes, reader: Reader, what: str) -> dict[str, Any]:
    """The body as Jackson reads it. Raises BadBody."""
    try:
        told: dict[str, Any] = json.loads(body, parse_constant=_no_constant)
    except ValueError as problem:
        raise BadBody(f"{what} is no JSON: {body[:200]!r}") from problem
    reader(told, what)
    return told


def _no_constant(word: str) -> Any:
    raise BadBody(f"{word} is no JSON")


def fitting(update: Mapping[str, Any]) -> None:
    """What goes with a status (4.6): no detail is missing, and none is of another. Raises
    BadBody."""
    status = str(update["status"])
    details = {k: v for k, v in (update.get("details") or {}).items() if v is not None}
    wanted = {
        "COMPUTED": {"exitCode"},
        "CONTRIBUTED": {"chainReceipt"},
        "REVEALED": {"chainReceipt"},
        "RESULT_UPLOADED": {"resultLink"},
        "CONTRIBUTE_AND_FINALIZE_DONE": {"chainReceipt", "resultLink"},
        "ABORTED": {"cause"},
    }.get(status, {"cause"} if status.endswith("_FAILED") else set())
    if missing := wanted - set(details):
        raise BadBody(f"{status} lacks {sorted(missing)}")
    more = {
        "COMPUTED": {"computeLogs"},
        "COMPUTE_FAILED": {"computeLogs", "exitCode"},
        "RESULT_UPLOADED": {"chainCallbackData"},
        "CONTRIBUTE_AND_FINALIZE_DONE": {"chainCallbackData"},
    }.get(status, set())
    if strange := set(details) - wanted - more:
        raise BadBody(f"{status} does not come with {sorted(strange)}")
    if update.get("success") is status.endswith("_FAILED"):
        raise BadBody(f"{status} is told with success {update['success']}")
    logs = details.get("computeLogs", {})
    if any(len(logs.get(name) or "") > _LOG_LIMIT for name in ("stdout", "stderr")):
        raise BadBody(f"logs are cut to {_LOG_LIMIT} characters")
