"""The routes for everybody that list: tasks, workers, deals and the pool's orders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import partial
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Query, Request, Response

from tallystick.lifecycle.pool import COMPUTING
from tallystick.lifecycle.replicate import OVER
from tallystick.lifecycle.stages import task_status
from tallystick.poco.values import ZERO_ADDRESS, Address, DealId, Hash, TaskId
from tallystick.scheduler.denials import NoSuch
from tallystick.scheduler.paging import LINK, Limit, Page, page
from tallystick.scheduler.routing import get, told
from tallystick.scheduler.story import iso
from tallystick.scheduler.window import TheWindow, Window
from tallystick.wire import public as bodies
from tallystick.wire.orders import to_json

if TYPE_CHECKING:
    from tallystick.lifecycle.task import Task
    from tallystick.wire.scheduler import WorkerModel

StatusName = Annotated[
    str | None, Query(pattern="^[A-Z_]{1,40}$", description="Only tasks in this status.")
]


def attach(app: FastAPI) -> None:
    """Add these routes to `app`."""
    get("/tasks", list[bodies.TaskInShort], tag="tasks", headers=LINK).add(app, _tasks)
    get("/workers", list[bodies.WorkerInShort], tag="workers", headers=LINK).add(app, _workers)
    worker = get("/workers/{worker}", bodies.WorkerInFull, tag="workers", refuses=(404,))
    worker.add(app, _worker)
    get("/deals", list[bodies.DealInShort], tag="deals", headers=LINK).add(app, _deals)
    deal = get("/deals/{deal_id}", bodies.DealInShort, tag="deals", refuses=(404,))
    deal.add(app, _deal)
    get("/orders", list[bodies.OrderOnOffer], tag="orders", headers=LINK).add(app, _orders)


async def _tasks(
    window: TheWindow,
    request: Request,
    *,
    limit: Limit = 100,
    after: TaskId | None = None,
    deal: DealId | None = None,
    status: StatusName = None,
) -> Response:
    """Tasks in short, the newest first."""
    tasks: Iterable[Task] = window.tasks_of(deal) if deal else window.pool.tasks()
    tasks = window.newest_first(tasks)
    if status:
        tasks = (task for task in tasks if task_status(task) == status or task.id == after)
    found = page(((task.id, task) for task in tasks), after, limit)
    return _told(window, request, found, _task_in_short, limit=limit, deal=deal, status=status)


async def _workers(
    window: TheWindow, request: Request, *, limit: Limit = 1_000, after: Address | None = None
) -> Response:
    """Who computes for this pool."""
    busy = _busy(window)
    models = [
        (worker, _worker_in_short(window, worker, model, silence, busy[worker]))
        for worker, model, silence in sorted(window.pool.roster, key=itemgetter(0))
    ]
    return _told(window, request, page(models, after, limit), _as_it_is, limit=limit)


async def _worker(window: TheWindow, worker: Address) -> Response:
    """One worker: what it said of its machine, and what it holds."""
    known = {who: (model, silence) for who, model, silence in window.pool.roster}
    if worker not in known:
        raise NoSuch(f"{worker} never registered here: GET /workers lists who did.")
    model, silence = known[worker]
    short = _worker_in_short(window, worker, model, silence, _busy(window)[worker])
    return told(
        short
        | {
            "os": model.os,
            "cpu": model.cpu,
            "memorySize": model.memory_size,
            "gpuEnabled": model.gpu_enabled,
            "teeEnabled": model.tee_enabled,
            "tasks": [
                str(task.id)
                for task in window.pool.tasks()
                if not task.status.over
                and (mine := task.replicates.get(worker))
                and mine.status not in OVER
            ],
        }
    )


async def _deals(
    window: TheWindow, request: Request, *, limit: Limit = 100, after: DealId | None = None
) -> Response:
    """Deals with this pool, the newest first."""
    found = page(((each, each) for each in window.deals()), after, limit)
    return _told(window, request, found, partial(_deal_in_short, window), limit=limit)


async def _deal(window: TheWindow, deal_id: DealId) -> Response:
    """One deal with this pool."""
    if deal_id not in window.bags:
        raise NoSuch(f"{deal_id} is no deal with this pool: GET /deals lists them.")
    return told(_deal_in_short(window, deal_id))


async def _orders(
    window: TheWindow, request: Request, *, limit: Limit = 100, after: Hash | None = None
) -> Response:
    """The pool's signed orders that can still be used."""
    offers = sorted(window.orders.on_offer(), key=attrgetter("hash"))
    found = page(((offer.hash, offer) for offer in offers), after, limit)
    return _told(window, request, found, _offer, limit=limit)


def _told(
    window: Window, request: Request, found: Page[Any, Any], form: Any, **asked: object
) -> Response:
    url = f"{window.here(request)}{request.url.path.rsplit('/', 1)[-1]}"
    return told([form(each) for each in found.elements], found.link(url, **asked))


def _as_it_is(value: Any) -> Any:
    return value


def _offer(offer: Any) -> dict[str, Any]:
    return {
        "orderHash": str(offer.hash),
        "remaining": str(offer.remaining),
        "order": to_json(offer.order),
    }


def _task_in_short(task: Task) -> dict[str, Any]:
    return {
        "chainTaskId": str(task.id),
        "dealId": str(task.deal.id),
        "taskIndex": task.index,
        "currentStatus": task_status(task),
        "trust": task.deal.trust,
        "replicates": len(task.replicates),
    }


def _busy(window: Window) -> Counter[Address]:
    """How many slots each worker uses, in one walk through what is open."""
    return Counter(
        replicate.worker
        for task in window.pool.open_tasks()
        for replicate in task.replicates.values()
        if replicate.status in COMPUTING
    )


def _worker_in_short(
    window: Window, worker: Address, model: WorkerModel, silence: float, busy: int
) -> dict[str, Any]:
    return {
        "name": model.name,
        "address": str(worker),
        "slots": model.slots,
        "busy": busy,
        "heardSecondsAgo": round(silence, 1),
        "alive": silence < window.lost_after,
    }


def _deal_in_short(window: Window, deal_id: DealId) -> dict[str, Any]:
    deal = window.bags[deal_id].deal
    dataset = deal.dataset.pointer
    return {
        "dealId": str(deal.id),
        "requester": str(deal.requester),
        "beneficiary": str(deal.beneficiary),
        "app": str(deal.app.pointer),
        "dataset": None if dataset == ZERO_ADDRESS else str(dataset),
        "workerpoolPrice": deal.workerpool.price,
        "trust": deal.trust,
        "category": deal.category,
        "tag": str(deal.tag),
        "start": iso(deal.start),
        "finalDeadline": iso(deal.final_deadline),
        "botFirst": deal.bot_first,
        "botSize": deal.bot_size,
        "tasks": Counter(task_status(task) for task in window.tasks_of(deal_id)),
    }
