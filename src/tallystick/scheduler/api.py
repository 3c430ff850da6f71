"""The routes for workers: parse, check who speaks, record."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import anyio
from fastapi import Depends, FastAPI, Header, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from tallystick import __version__
from tallystick.engine.clock import ChainClock
from tallystick.lifecycle.audit import goes_on
from tallystick.lifecycle.facts import Uploaded
from tallystick.lifecycle.pool import NoWork, busy_slots
from tallystick.poco.values import Address, TaskId
from tallystick.scheduler import recovery, story
from tallystick.scheduler.asked import Cursor, Patience
from tallystick.scheduler.desk import Desk
from tallystick.scheduler.hanging import hang_up_of, spread
from tallystick.scheduler.reports import is_known, placed, unplaced
from tallystick.scheduler.routing import NOTHING, TEXT, WORKER, Route, get, told
from tallystick.scheduler.vitals import Vitals
from tallystick.wire.authorization import SignatureBody
from tallystick.wire.dialect import UnknownStatus, from_update, next_action
from tallystick.wire.fingerprint import fingerprint
from tallystick.wire.news import PoolFeed
from tallystick.wire.notifications import TaskNotification
from tallystick.wire.refusals import refusal
from tallystick.wire.registered import RegisteredWorker
from tallystick.wire.scheduler import (
    INSTANCE,
    NO_WORK,
    PATIENCE,
    ChainConfig,
    OwnOffer,
    PublicConfig,
    ReplicateOffer,
    StatusUpdate,
    WorkerModel,
)
from tallystick.wire.versions import SCHEDULER, told_to

if TYPE_CHECKING:
    from tallystick.scheduler.channel import TaskBooks

_TEXT = "text/plain;charset=UTF-8"
NextWord = Literal[
    "PLEASE_CONTINUE",
    "PLEASE_WAIT",
    "PLEASE_START",
    "PLEASE_DOWNLOAD_APP",
    "PLEASE_DOWNLOAD_DATA",
    "PLEASE_COMPUTE",
    "PLEASE_CONTRIBUTE",
    "PLEASE_REVEAL",
    "PLEASE_UPLOAD",
    "PLEASE_CONTRIBUTE_AND_FINALIZE",
    "PLEASE_COMPLETE",
    "PLEASE_ABORT",
]
"""What a worker is to do next, in the words of its v9 peers."""
# What routes depend on is asynchronous, though it awaits nothing: else FastAPI hands each of it
# to a thread, which costs more than all the rest of a short answer.


async def bearer(request: Request) -> Address:
    """The wallet that sent a request. Raises Unauthorized, TooOften."""
    desk: Desk = request.app.state.desk
    return desk.bearer(request.headers.get("authorization", ""))


async def caller(request: Request) -> Address:
    """The worker that sent a request; counts as a sign of life. Raises WalletTaken."""
    desk: Desk = request.app.state.desk
    headers = request.headers
    return desk.caller(headers.get("authorization", ""), headers.get(INSTANCE, ""))


async def the_desk(request: Request) -> Desk:
    """What the routes share."""
    desk: Desk = request.app.state.desk
    return desk


Bearer = Annotated[Address, Depends(bearer)]
Caller = Annotated[Address, Depends(caller)]
TheDesk = Annotated[Desk, Depends(the_desk)]


def attach(app: FastAPI) -> None:
    """Add the workers' routes to `app`."""
    _introductions(app)
    _logins(app)
    _member(app, "POST", "/workers/ping", {200: TEXT}, ping)
    _member(app, "POST", "/workers/leave", {204: NOTHING}, _leave)
    registered = {200: WorkerModel | RegisteredWorker}
    _member(app, "POST", "/workers/register", registered, _register, 403)
    _member(app, "GET", "/workers/computing", {200: list[str]}, _computing)
    offer = {200: OwnOffer | ReplicateOffer, 204: NOTHING}
    _member(app, "GET", "/replicates/available", offer, available, 412, 503)
    _member(app, "GET", "/replicates/facts", {200: PoolFeed}, facts)
    interrupted = {200: list[TaskNotification]}
    _member(app, "GET", "/replicates/interrupted", interrupted, _interrupted, 503)
    path, words = "/replicates/{task_id}/updateStatus", dict.fromkeys((200, 202, 208), NextWord)
    _member(app, "POST", path, words, _update, 503)


def _introductions(app: FastAPI) -> None:
    get("/version", TEXT, tag="workers' own").add(app, _version)
    get("/workers/config", PublicConfig, tag="workers' own").add(app, _config)
    get("/config/chain", ChainConfig, tag="workers' own").add(app, _chain)


def _logins(app: FastAPI) -> None:
    challenge = get("/workers/challenge", TEXT, tag="workers' own", refuses=(401,))
    challenge.add(app, _challenge)
    Route(
        verb="POST",
        path="/workers/login",
        answers={200: TEXT},
        refuses=(401,),
        tag="workers' own",
    ).add(app, _login)


def _member(
    app: FastAPI,
    verb: Literal["GET", "POST"],
    path: str,
    answers: Mapping[int, Any],
    handler: Callable[..., Any],
    *refuses: int,
) -> None:
    """A route for workers that logged in, with the wallet that is theirs alone."""
    Route(
        verb=verb,
        path=path,
        answers=answers,
        refuses=(409, *refuses),
        who=WORKER,
        tag="workers' own",
    ).add(app, handler)


def _json(body: Any) -> Response:
    return Response(body.json_bytes(), media_type="application/json")


def _text(text: str) -> Response:
    return PlainTextResponse(text, media_type=_TEXT)


def _no_work(why: NoWork) -> Response:
    """Peers of another make pass the header over."""
    return Response(status_code=204, headers={NO_WORK: why})


async def _version() -> Response:
    """The scheduler's version."""
    return _text(__version__)


async def _config(
    desk: TheDesk, program: Annotated[str, Header(alias="user-agent")] = ""
) -> Response:
    """What the pool tells every worker. A v9 peer is told no range of versions, since it would
    take it for one version."""
    rule = told_to(program, desk.config.required_worker_version)
    answer = _json(desk.config.model_copy(update={"required_worker_version": rule}))
    answer.headers[SCHEDULER] = __version__
    return answer


async def _chain(desk: TheDesk) -> Response:
    """The chain of this pool."""
    return _json(desk.chain)


async def _challenge(desk: TheDesk, walletAddress: Address) -> Response:
    """What a worker must sign to log in; 401 for a wallet that is not on the whitelist."""
    desk.admission.require_listed(walletAddress)
    return _text(desk.challenges.issue(walletAddress))


async def _login(desk: TheDesk, walletAddress: Address, body: SignatureBody) -> Response:
    """A token for whoever signed the challenge."""
    desk.admission.require_listed(walletAddress)
    desk.challenges.settle(walletAddress, body.value)
    return _text(desk.tokens.issue(walletAddress))


async def ping(desk: TheDesk, worker: Caller) -> Response:
    """A sign of life; the answer changes when the pool's configuration does."""
    return _text(fingerprint(desk.config, desk.chain))


async def _leave(desk: TheDesk, worker: Caller) -> Response:
    """A worker of ours ends: nobody waits for its next sign of life, and its wallet is free."""
    desk.pool.roster.left(worker)
    return Response(status_code=204)


async def _register(
    request: Request,
    desk: TheDesk,
    worker: Bearer,
    body: WorkerModel,
    *,
    instance: Annotated[str, Header(alias=INSTANCE, max_length=100)] = "",
    program: Annotated[str, Header(alias="user-agent")] = "",
    takeover: bool = False,
) -> Response:
    """A worker starts: it tells what its machine can do, and takes up what it holds. A second
    one of ours with the wallet of one that runs is told so (409), and whom the pool does not
    want is told why (403)."""
    holds = bool(desk.pool.openings.held_by(worker))
    desk.admission.require_fit(worker, body, program, holds=holds)
    model = desk.pool.roster.register(worker, body, instance=instance, takeover=takeover)
    desk.pool.roster.runs(worker, program[:200])
    desk.pool.roster.calls_from(worker, request.client.host if request.client else "")
    desk.pool.welcome_back(worker)
    return _json(model if instance else _stored(desk, worker, model))


def _stored(desk: Desk, worker: Address, model: WorkerModel) -> RegisteredWorker:
    held = desk.pool.openings.held_by(worker)
    return RegisteredWorker.of(
        worker,
        model,
        now=story.iso(time.time()),
        participating=tuple(str(task.id) for task in held),
        computing=tuple(_busy(desk, worker)),
    )


async def _computing(desk: TheDesk, worker: Caller) -> Response:
    """The tasks that occupy a slot of this worker."""
    return told(_busy(desk, worker))


def _busy(desk: Desk, worker: Address) -> list[str]:
    held = desk.pool.openings.held_by(worker)
    return [str(task.id) for task in held if busy_slots(worker, [task])]


async def available(
    request: Request,
    desk: TheDesk,
    worker: Caller,
    blockNumber: int,
    wait: Patience = 0.0,
) -> Response:
    """A replicate, at once or within `wait` seconds; 204 when there is none. A worker of ours
    that never registered here is told so (412)."""
    if not desk.pool.clock.known or (not wait and _stands_still(request)):
        return _no_chain(request, desk.pool.clock)
    if wait and desk.pool.roster.model(worker) is None:
        register = f"{worker} is not registered here: POST /workers/register first."
        return refusal(412, register, request.url.path)
    if blockNumber <= 0:
        return _no_work(NoWork.ASKED_TOO_EARLY)
    instance, asked = request.headers.get(INSTANCE, ""), time.monotonic()
    hung_up = hang_up_of(request) if wait else anyio.sleep_forever
    patience = spread(min(wait, PATIENCE))
    permission = await desk.pool.demand(worker, patience, instance, hung_up)
    if permission is None:
        desk.pool.roster.require_current(worker, instance)
        return _no_work(desk.pool.why_none(worker, instance))
    desk.pushes.left(str(permission.chain_task_id), asked)
    if not wait:
        return _json(ReplicateOffer(workerpool_authorization=permission))
    task = desk.pool.engine.states[str(permission.chain_task_id)]
    offer = OwnOffer(
        workerpool_authorization=permission,
        weight=task.replicates[worker].weight,
        from_block=desk.pool.birth_block(task),
        alone=task.replicates[worker].alone,
        digest_first=task.replicates[worker].digest_first,
        goes_on=goes_on(task, worker),
    )
    return _json(offer)


async def facts(
    request: Request,
    desk: TheDesk,
    worker: Caller,
    *,
    after: Cursor = 0,
    of: str = "",
    wait: Patience = 0.0,
) -> Response:
    """What was decided about this worker past a cursor."""
    pool = desk.pool
    cursor = after if of == pool.instance else 0
    instance = request.headers.get(INSTANCE, "")
    hung_up = hang_up_of(request) if wait else anyio.sleep_forever
    patience = spread(min(wait, PATIENCE))
    news = await pool.wait_for_news(worker, cursor, patience, instance, hung_up=hung_up)
    pool.roster.require_current(worker, instance)
    reached = max([cursor, *(each.seq for each in news)])
    return _json(PoolFeed(news=tuple(news), next=reached, of=pool.instance))


async def _interrupted(
    request: Request, desk: TheDesk, worker: Caller, blockNumber: int
) -> Response:
    """How a worker that started again goes on with each of its tasks. One of ours knows."""
    if not desk.pool.clock.known:
        return _no_chain(request, desk.pool.clock)
    books: TaskBooks = request.app.state.books
    found = recovery.recovered(desk.pool, books, worker)
    return told([each.model_dump(mode="json", by_alias=True) for each in found])


def _stands_still(request: Request) -> bool:
    """Whether no block has come for too long. Workers of ours see that by themselves."""
    signs: Vitals = request.app.state.vitals
    age = signs.head_age
    return age is not None and age > signs.stale_after


def _no_chain(request: Request, clock: ChainClock) -> Response:
    """Java's client waits as long as it is told to; else it would ask again at once."""
    headers = {"retry-after": "1"}
    missing = "The chain's past is still read" if clock.waits else "No fresh block is known"
    return refusal(503, f"{missing}: ask again.", request.url.path, headers=headers)


async def _update(
    request: Request, desk: TheDesk, worker: Caller, task_id: TaskId, body: StatusUpdate
) -> Response:
    """A worker reports how far its replicate is; the answer is what comes next."""
    pool, stream = desk.pool, str(task_id)
    ours = bool(request.headers.get(INSTANCE))
    if not pool.clock.known or (not ours and _stands_still(request)):
        return _no_chain(request, pool.clock)
    task = pool.engine.states.get(stream)
    if task is None or worker not in task.replicates:
        return unplaced(body.status)
    try:
        fact = from_update(worker, body)
    except UnknownStatus as problem:
        return refusal(400, f"{problem} GET /docs tells which are.", request.url.path)
    if body.details and body.details.compute_logs:
        desk.logs.write(task_id, worker, body.details.compute_logs)
    had = pool.statuses_had(
        task, worker, lambda: story.statuses_of(desk.history(task_id), worker)
    )
    if is_known(task, fact, had=body.status in had):
        return JSONResponse("PLEASE_WAIT", status_code=208)
    if isinstance(fact, Uploaded) and not await desk.is_uploaded(task_id, fact):
        return JSONResponse("PLEASE_ABORT", status_code=202)
    return await placed(pool, task_id, fact, words=next_action, ours=ours)
