"""A worker's questions to a v9 scheduler, beside those that ours answers as well."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

import httpx2
from pydantic import TypeAdapter, ValidationError

from tallystick.engine.errors import Refused, Unavailable
from tallystick.poco.values import TaskId
from tallystick.wire.notifications import TaskNotification
from tallystick.wire.scheduler import ReplicateOffer, SchedulerClient, StatusUpdate
from tallystick.wire.v9_causes import CAUSES

REFUSED: Final = 202
KNOWN: Final = 208
ABORT: Final = "PLEASE_ABORT"
COMPLETE: Final = "PLEASE_COMPLETE"
CONTRIBUTE: Final = "PLEASE_CONTRIBUTE"
FINISH: Final = "PLEASE_CONTRIBUTE_AND_FINALIZE"
REVEAL: Final = "PLEASE_REVEAL"
UPLOAD: Final = "PLEASE_UPLOAD"
_LIST: Final = TypeAdapter(list[object])


def topic(task: TaskId | str) -> str:
    """Where a v9 scheduler tells the workers of a task what to do."""
    return f"/topic/task/{task}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a v9 scheduler says to a report."""

    status: int
    word: str
    """What to do next; empty where there is nothing."""

    @property
    def refused(self) -> bool:
        """Whether the report was not taken, or the replicate is to be dropped after it."""
        return self.status == REFUSED or (self.status != KNOWN and self.word == ABORT)


@dataclass(frozen=True, slots=True)
class V9Client:
    """Every call raises Unavailable and Refused, as those of the connection that it uses."""

    connection: SchedulerClient

    async def offer(self, block: int) -> ReplicateOffer | None:
        """A replicate for us; None when there is none now."""
        answer = await self.connection.member(
            "GET", "/replicates/available", params={"blockNumber": block}
        )
        if answer.status_code == 204 or not answer.content.strip():
            return None
        try:
            return ReplicateOffer.model_validate_json(answer.content)
        except ValidationError as problem:
            raise _strange(answer) from problem

    async def interrupted(self, block: int) -> list[TaskNotification]:
        """How to go on with what we take part in. Each replicate that is named counts as
        recovering from then on, so this is not for asking often."""
        answer = await self.connection.member(
            "GET", "/replicates/interrupted", params={"blockNumber": block}
        )
        try:
            told = _LIST.validate_json(answer.content) if answer.content.strip() else []
        except ValidationError as problem:
            raise _strange(answer) from problem
        return [known for each in told if (known := understood(each)) is not None]

    async def report(self, task: TaskId, update: StatusUpdate) -> Answer:
        """Tell how far a replicate is."""
        answer = await self.connection.member(
            "POST", f"/replicates/{task}/updateStatus", content=_known(update).json_bytes()
        )
        return Answer(answer.status_code, answer.text.strip().strip('"')[:60])

    async def fate(self, task: TaskId) -> tuple[str, str]:
        """The scheduler's status of a task, and who is to upload its result, in lower case;
        both empty for a task that it does not know."""
        try:
            answer = await self.connection.member("GET", f"/tasks/{task}")
        except Refused:
            return "", ""
        try:
            told = answer.json()
            status, uploader = told["currentStatus"], told.get("uploadingWorkerWalletAddress")
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
            raise _strange(answer) from None
        return str(status), str(uploader or "").lower()


def understood(told: object) -> TaskNotification | None:
    """A notification, also as text; None for what is none."""
    try:
        if isinstance(told, str):
            return TaskNotification.model_validate_json(told)
        return TaskNotification.model_validate_json(json.dumps(told))
    except (ValidationError, ValueError, RecursionError):
        return None


def _known(update: StatusUpdate) -> StatusUpdate:
    """A report whose cause has a name at v9 schedulers, which refuse any other."""
    details = update.details
    if details is None or details.cause is None or details.cause in CAUSES:
        return update
    return update.model_copy(
        update={"details": details.model_copy(update={"cause": "UNKNOWN"})}
    )


def _strange(answer: httpx2.Response) -> Unavailable:
    return Unavailable(f"What the scheduler answers at {answer.url.path} is not understood.")
