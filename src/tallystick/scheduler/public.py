"""The routes for everybody: tasks, their stories and logs, and how the pool does."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response

from tallystick.engine.journal import Journal
from tallystick.lifecycle import views
from tallystick.lifecycle.facts import Fact
from tallystick.lifecycle.pool import busy_slots
from tallystick.lifecycle.stages import task_status
from tallystick.poco.params import parse_params
from tallystick.poco.signing import BadSignature, recover
from tallystick.poco.values import Address, TaskId
from tallystick.scheduler import story
from tallystick.scheduler.asked import Cursor, Patience
from tallystick.scheduler.logs import LogBook
from tallystick.wire.auth import ReadingChallenges, log_challenge, log_challenge_hash
from tallystick.wire.scheduler import PATIENCE

if TYPE_CHECKING:
    from tallystick.scheduler.pool import Pool


@dataclass(slots=True)
class Window:
    """What the public routes need."""

    pool: Pool
    journal: Journal[Fact]
    logs: LogBook
    chain_id: int
    lost_after: float
    challenges: ReadingChallenges = field(default_factory=ReadingChallenges)

    def story(self, task: TaskId) -> story.Story:
        """All that is known of a task; 404 for one that nobody bought here."""
        told = story.tell(self.journal.read(stream=str(task)))
        if told.task is None:
            raise HTTPException(404)
        return told


def the_window(request: Request) -> Window:
    """What the routes share."""
    window: Window = request.app.state.window
    return window


TheWindow = Annotated[Window, Depends(the_window)]


def attach(app: FastAPI) -> None:
    """Add the public routes to `app`."""
    app.get("/tasks/logs/challenge")(_log_challenge)
    app.get("/tasks")(_tasks)
    app.get("/tasks/{task_id}")(_task)
    app.get("/tasks/{task_id}/story")(_story)
    app.get("/tasks/{task_id}/logs", response_model=None)(_logs)
    app.get("/tasks/{task_id}/replicates/{worker}", response_model=None)(_replicate)
    app.get("/tasks/{task_id}/replicates/{worker}/logs", response_model=None)(_replicate_logs)
    app.get("/workers")(_workers)
    app.get("/metrics")(_metrics)


async def _tasks(window: TheWindow, limit: int = 100) -> list[dict[str, Any]]:
    """The newest tasks, in short."""
    newest = list(window.pool.tasks())[-max(1, min(limit, 1000)) :]
    return [
        {
            "chainTaskId": str(task.id),
            "dealId": str(task.deal.id),
            "taskIndex": task.index,
            "currentStatus": task_status(task),
            "trust": task.deal.trust,
            "replicates": len(task.replicates),
        }
        for task in reversed(newest)
    ]


async def _task(window: TheWindow, task_id: TaskId, request: Request) -> dict[str, Any]:
    """One task, as v9 schedulers describe it."""
    told = window.story(task_id)
    assert told.task is not None
    task, deal = told.task, told.task.deal
    uploader = next((str(r.worker) for r in task.winners if r.upload_deadline), None)
    return {
        "chainTaskId": str(task.id),
        "replicates": [_model(window, request, told, worker) for worker in task.replicates]
        or None,
        "maxExecutionTime": deal.time_unit * 1000,
        "tag": str(deal.tag),
        "dappType": "DOCKER",
        "dappName": str(deal.app.pointer),
        "commandLine": parse_params(deal.params).args,
        "initializationBlockNumber": window.pool.birth_block(task),
        "currentStatus": task_status(task),
        "trust": deal.trust,
        "uploadingWorkerWalletAddress": uploader,
        "consensus": str(task.consensus) if task.consensus else None,
        "contributionDeadline": story.iso(deal.contribution_deadline),
        "revealDeadline": story.iso(task.reveal_deadline) if task.reveal_deadline else None,
        "finalDeadline": story.iso(deal.final_deadline),
        "resultLink": task.link,
        "chainCallbackData": None,
        "dateStatusList": [
            {"date": story.iso(at), "status": name} for at, name in told.statuses
        ],
    }


def _model(
    window: Window, request: Request, told: story.Story, worker: Address
) -> dict[str, Any]:
    assert told.task is not None
    task = told.task
    replicate, here = task.replicates[worker], f"{request.base_url}tasks/{task.id}"
    known = {
        "self": f"{here}/replicates/{worker}",
        "chainTaskId": str(task.id),
        "walletAddress": str(worker),
        "currentStatus": views.modern(replicate),
        "statusUpdateList": [
            story.as_update(row, name)
            for row in told.rows.get(worker, ())
            for name in row.modern
        ],
        "resultLink": replicate.link,
        "contributionHash": str(replicate.vote) if replicate.vote else None,
        "appLogs": f"{here}/replicates/{worker}/logs"
        if window.logs.of(task.id, worker)
        else None,
        "appExitCode": replicate.exit_code,
    }
    return {name: value for name, value in known.items() if value is not None}


async def _replicate(
    window: TheWindow, task_id: TaskId, worker: Address, request: Request
) -> Response:
    """One replicate, as v9 schedulers describe it."""
    told = window.story(task_id)
    if told.task is None or worker not in told.task.replicates:
        return Response(status_code=404)
    return JSONResponse(_model(window, request, told, worker))


async def _story(
    window: TheWindow, task_id: TaskId, after: Cursor = 0, wait: Patience = 0.0
) -> dict[str, Any]:
    """Everything that happened past a cursor, as soon as something did."""
    stream, changes = str(task_id), window.pool.changes
    ends = time.monotonic() + min(wait, PATIENCE)
    while True:
        seen = changes.count
        entries = list(window.journal.read(after, stream))
        if entries or changes.closed or time.monotonic() >= ends:
            break
        await changes.next(seen, ends - time.monotonic())
    task = window.pool.engine.states.get(stream)
    return {
        "taskId": stream,
        "status": task_status(task) if task else "UNKNOWN",
        "next": max([after, *(entry.seq for entry in entries)]),
        "facts": [story.as_fact(entry) for entry in entries],
        "replicates": [story.as_replicate(r) for r in task.replicates.values()] if task else [],
        "timings": [
            {"what": what, "due": due, "sent": sent}
            for what, due, sent in window.journal.timings(stream)
        ],
    }


async def _log_challenge(window: TheWindow, address: Address) -> dict[str, Any]:
    """What a requester signs to read the logs of its tasks."""
    return log_challenge(window.chain_id, window.challenges.issue(address))


async def _logs(window: TheWindow, task_id: TaskId, request: Request) -> Response:
    """What the app printed, for the deal's requester."""
    if refusal := _refusal(window, task_id, request):
        return Response(status_code=refusal)
    if not (found := window.logs.of(task_id)):
        return Response(status_code=404)
    logs = [each.model_dump(by_alias=True, mode="json") for each in found]
    return JSONResponse({"chainTaskId": str(task_id), "computeLogsList": logs})


async def _replicate_logs(
    window: TheWindow, task_id: TaskId, worker: Address, request: Request
) -> Response:
    """What the app of one replicate printed, for the deal's requester."""
    if refusal := _refusal(window, task_id, request):
        return Response(status_code=refusal)
    if not (found := window.logs.of(task_id, worker)):
        return Response(status_code=404)
    return Response(found[0].json_bytes(), media_type="application/json")


def _refusal(window: Window, task_id: TaskId, request: Request) -> int | None:
    """The status for whoever may not read the logs of a task; the header is
    `<hash>_<signature>_<address>`."""
    parts = request.headers.get("authorization", "").split("_")
    if len(parts) != 3:
        return 401
    try:
        asker, signature = Address(parts[2].lower()), bytes.fromhex(parts[1].removeprefix("0x"))
    except ValueError:
        return 401
    task = window.pool.engine.states.get(str(task_id))
    if task is None or asker != task.deal.requester:
        return 403
    return None if _answers(window, asker, signature) else 401


def _answers(window: Window, asker: Address, signature: bytes) -> bool:
    """Whether one of the challenges that `asker` may have got is signed by it."""
    for text in window.challenges.good(asker):
        try:
            if recover(log_challenge_hash(window.chain_id, text), signature) == asker:
                return True
        except BadSignature:
            continue
    return False


async def _workers(window: TheWindow) -> list[dict[str, Any]]:
    """Who computes for this pool."""
    open_tasks = list(window.pool.open_tasks())
    return [
        {
            "name": model.name,
            "address": str(worker),
            "slots": model.slots,
            "busy": busy_slots(worker, open_tasks),
            "heardSecondsAgo": round(silence, 1),
            "alive": silence < window.lost_after,
        }
        for worker, model, silence in window.pool.roster
    ]


async def _metrics(window: TheWindow) -> dict[str, Any]:
    """The pool's figures, as v9 schedulers publish them."""
    pool = window.pool
    alive, open_tasks = pool.roster.alive(window.lost_after), list(pool.open_tasks())
    slots = sum(model.slots for worker, model, _ in pool.roster if worker in alive)
    busy = sum(busy_slots(worker, open_tasks) for worker in alive)
    return {
        "aliveWorkers": len(alive),
        "aliveComputingCpu": busy,
        "aliveRegisteredCpu": slots,
        "aliveComputingGpu": 0,
        "aliveRegisteredGpu": 0,
        "currentTaskStatusesCount": Counter(task_status(task) for task in pool.tasks()),
        "dealsCount": len({task.deal.id for task in pool.tasks()}),
    }
