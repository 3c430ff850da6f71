"""The routes for everybody about one task: how it is, its story, its replicates, its logs."""

from __future__ import annotations

import time
from typing import Any

from fastapi import FastAPI, Request, Response

from tallystick.lifecycle import views
from tallystick.lifecycle.stages import task_status
from tallystick.poco.params import parse_params
from tallystick.poco.values import Address, TaskId
from tallystick.scheduler import story
from tallystick.scheduler.asked import Cursor, Patience
from tallystick.scheduler.denials import NoSuch
from tallystick.scheduler.routing import REQUESTER, get, told
from tallystick.scheduler.window import TheWindow, Window
from tallystick.wire import public as bodies
from tallystick.wire.auth import log_challenge
from tallystick.wire.scheduler import PATIENCE


def attach(app: FastAPI) -> None:
    """Add these routes to `app`."""
    one, replicate = "/tasks/{task_id}", "/tasks/{task_id}/replicates/{worker}"
    here = {"tag": "tasks", "refuses": (404,)}
    owner = {"tag": "tasks", "refuses": (403, 404), "who": REQUESTER}
    get("/tasks/logs/challenge", bodies.LogChallenge, tag="tasks").add(app, _log_challenge)
    get(one, bodies.TaskModel, **here).add(app, _task)
    get(f"{one}/story", bodies.TaskStory, tag="tasks").add(app, _story)
    get(f"{one}/logs", bodies.TaskLogs, **owner).add(app, _logs)
    get(replicate, bodies.ReplicateModel, **here).add(app, _replicate)
    get(f"{replicate}/history", list[bodies.HistoryRow], **here).add(app, _history)
    get(f"{replicate}/logs", bodies.PrintedLogs, **owner).add(app, _replicate_logs)


async def _task(window: TheWindow, task_id: TaskId, request: Request) -> Response:
    """One task, as v9 schedulers describe it."""
    known = _known(window, task_id)
    assert known.task is not None
    task, deal = known.task, known.task.deal
    uploader = next((str(r.worker) for r in task.winners if r.upload_deadline), None)
    return told(
        {
            "chainTaskId": str(task.id),
            "replicates": [_model(window, request, known, worker) for worker in task.replicates]
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
                {"date": story.iso(at), "status": name} for at, name in known.statuses
            ],
        }
    )


def _model(
    window: Window, request: Request, known: story.Story, worker: Address
) -> dict[str, Any]:
    assert known.task is not None
    task = known.task
    replicate, here = task.replicates[worker], f"{window.here(request)}tasks/{task.id}"
    model = {
        "self": f"{here}/replicates/{worker}",
        "chainTaskId": str(task.id),
        "walletAddress": str(worker),
        "currentStatus": views.modern(replicate),
        "statusUpdateList": [
            story.as_update(row, name)
            for row in known.rows.get(worker, ())
            for name in row.modern
        ],
        "resultLink": replicate.link,
        "contributionHash": str(replicate.vote) if replicate.vote else None,
        "appLogs": f"{here}/replicates/{worker}/logs"
        if window.logs.of(task.id, worker)
        else None,
        "appExitCode": replicate.exit_code,
    }
    return {name: value for name, value in model.items() if value is not None}


async def _replicate(
    window: TheWindow, task_id: TaskId, worker: Address, request: Request
) -> Response:
    """One replicate, as v9 schedulers describe it."""
    known = _with_replicate(window, task_id, worker)
    return told(_model(window, request, known, worker))


async def _history(window: TheWindow, task_id: TaskId, worker: Address) -> Response:
    """Everything that happened to one replicate, in both vocabularies and without a gap."""
    known = _with_replicate(window, task_id, worker)
    return told([story.as_row(row) for row in known.rows.get(worker, ())])


def _known(window: Window, task: TaskId) -> story.Story:
    """All that is known of a task."""
    found = story.tell(window.journal.read(stream=str(task)))
    if found.task is None:
        raise NoSuch(f"No deal with this pool has the task {task}: look at GET /tasks.")
    return found


def _with_replicate(window: Window, task_id: TaskId, worker: Address) -> story.Story:
    known = _known(window, task_id)
    if known.task is None or worker not in known.task.replicates:
        raise NoSuch(
            f"{worker} has no replicate of {task_id}: GET /tasks/{task_id} lists them."
        )
    return known


async def _story(
    window: TheWindow, task_id: TaskId, after: Cursor = 0, wait: Patience = 0.0
) -> Response:
    """Everything that happened past a cursor, as soon as something did.

    The request is held open for `wait` seconds, 25 at most, until there is something to tell.
    """
    stream, changes = str(task_id), window.pool.changes
    ends = time.monotonic() + min(wait, PATIENCE)
    while True:
        seen = changes.count
        entries = list(window.journal.read(after, stream))
        if entries or changes.closed or time.monotonic() >= ends:
            break
        await changes.next(seen, ends - time.monotonic())
    task = window.pool.engine.states.get(stream)
    return told(
        {
            "taskId": stream,
            "status": task_status(task) if task else "UNKNOWN",
            "next": max([after, *(entry.seq for entry in entries)]),
            "facts": [story.as_fact(entry) for entry in entries],
            "replicates": [story.as_replicate(r) for r in task.replicates.values()]
            if task
            else [],
            "timings": [
                {"what": what, "due": due, "sent": sent}
                for what, due, sent in window.journal.timings(stream)
            ],
        }
    )


async def _log_challenge(window: TheWindow, address: Address) -> Response:
    """What a requester signs to read the logs of its tasks."""
    return told(log_challenge(window.chain_id, window.challenges.issue(address)))


async def _logs(window: TheWindow, task_id: TaskId, request: Request) -> Response:
    """What the app printed, for the deal's requester."""
    window.require_requester(task_id, request)
    if not (found := window.logs.of(task_id)):
        raise NoSuch(f"No logs of {task_id} are kept: nothing was printed yet, or long ago.")
    logs = [each.model_dump(by_alias=True, mode="json") for each in found]
    return told({"chainTaskId": str(task_id), "computeLogsList": logs})


async def _replicate_logs(
    window: TheWindow, task_id: TaskId, worker: Address, request: Request
) -> Response:
    """What the app of one replicate printed, for the deal's requester."""
    window.require_requester(task_id, request)
    if not (found := window.logs.of(task_id, worker)):
        raise NoSuch(f"No logs of {worker} for {task_id} are kept.")
    return told(found[0].model_dump(by_alias=True, mode="json"))
