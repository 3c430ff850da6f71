"""The routes of the result store. Each parses, checks who speaks, and acts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import anyio
from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import FileResponse, PlainTextResponse

from tallystick import __version__
from tallystick.poco.values import Hash, TaskId
from tallystick.results import figures
from tallystick.results.config import ResultsConfig
from tallystick.results.denial import Denied
from tallystick.results.intake import json_limit, received, too_large, unwrap
from tallystick.results.judge import Judge, Permit
from tallystick.results.store import Store, Stored, TooMany
from tallystick.results.tokens import Tokens
from tallystick.storage.cid import is_cid
from tallystick.wire.authorization import WorkerpoolAuthorization

_SAFE: Final = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
}
"""A result is a stranger's bytes: no browser may take it for a page of this site."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What the routes work with."""

    config: ResultsConfig
    store: Store
    judge: Judge
    tokens: Tokens


def desk(request: Request) -> Desk:
    """The desk of the app that `request` came to."""
    found: Desk = request.app.state.desk
    return found


_WORDS: Final = {
    204: "It is here",
    206: "The part that was asked for",
    401: "The caller did not prove who it is",
    403: "Not for this caller",
    404: "Not here",
    409: "Too many results wait for a vote",
    400: "Not understood",
    413: "Too large",
    416: "No part of it",
    429: "Too often; Retry-After says when",
    503: "Not now: ask again",
    507: "The disk is full",
}


def _says(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What else a route answers, each with a sentence."""
    content = {"text/plain": {"schema": {"type": "string"}}}
    return {
        each: {"description": _WORDS[each], "content": content}
        for each in sorted({400, 429, 503, *statuses})
    }


_UPLOADS: Final = _says(401, 403, 404, 409, 413, 507)
_ZIP: Final[dict[str, Any]] = {
    "application/zip": {"schema": {"type": "string", "format": "binary"}}
}
_PART: Final[dict[int | str, dict[str, Any]]] = {
    206: {"description": _WORDS[206], "content": _ZIP}
}
_GIVES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The zip", "content": _ZIP},
    **_PART,
}
At = Annotated[Desk, Depends(desk)]
Credential = Annotated[str, Header()]
routes = APIRouter(default_response_class=PlainTextResponse)


@routes.get("/version", responses=_says())
async def version() -> str:
    """The version of this program."""
    return __version__


@routes.get("/prometheus", responses=_says())
async def prometheus(at: At) -> PlainTextResponse:
    """How much is kept, for Prometheus."""
    text = await anyio.to_thread.run_sync(figures.exposition, at.store)
    return PlainTextResponse(text, media_type=figures.EXPOSITION)


@routes.post("/v1/results/token", responses=_says(401, 403))
async def token(
    authorization_body: WorkerpoolAuthorization, at: At, authorization: Credential = ""
) -> str:
    """An upload token for a worker with the pool's authorization and its own signature."""
    return at.tokens.issue(await at.judge.authorized(authorization_body, authorization))


@routes.post("/v1/results", responses=_UPLOADS)
async def add_v9(request: Request, at: At, authorization: Credential = "") -> str:
    """Upload as v9 workers do: the zip as Base64 in JSON."""
    worker = at.tokens.uploader(authorization)
    largest = at.config.max_result_bytes
    async with received(at.store, request.stream(), max_bytes=json_limit(largest)) as body:
        archive = at.store.incoming()
        try:
            model = await anyio.to_thread.run_sync(unwrap, body, archive, largest)
            if known := await _find(at, model.chain_task_id):
                return f"/ipfs/{known.cid}"
            permit = await at.judge.permit(model.chain_task_id, worker)
            return await _keep(at, permit, archive)
        finally:
            archive.unlink(missing_ok=True)


@routes.put("/v1/results/{task}", responses=_UPLOADS)
async def add(task: TaskId, request: Request, at: At, authorization: Credential = "") -> str:
    """Upload the zip as it is. Answers with its location; sending it again changes nothing."""
    worker = at.tokens.uploader(authorization)
    if known := await _find(at, task):
        return f"/ipfs/{known.cid}"
    largest = at.config.max_result_bytes
    if int(request.headers.get("content-length") or 0) > largest:
        raise too_large(largest)
    permit = await at.judge.permit(task, worker)
    async with received(at.store, request.stream(), max_bytes=largest) as archive:
        return await _keep(at, permit, archive)


async def _keep(at: Desk, permit: Permit, archive: Path) -> str:
    """Keep `archive` if it holds what the vote decided; returns its location."""
    found = await at.judge.approve(permit, archive)
    if permit.early:
        return f"/ipfs/{await _keep_early(at, permit, archive, found)}"
    stored = await anyio.to_thread.run_sync(
        lambda: at.store.add(
            archive,
            task=permit.task.id,
            deal=permit.task.deal,
            uploader=permit.worker,
            final_deadline=permit.task.final_deadline,
        )
    )
    return f"/ipfs/{stored.cid}"


async def _keep_early(at: Desk, permit: Permit, archive: Path, found: Hash) -> str:
    try:
        return await anyio.to_thread.run_sync(
            lambda: at.store.add_early(
                archive,
                task=permit.task.id,
                deal=permit.task.deal,
                uploader=permit.worker,
                result=found,
                final_deadline=permit.task.final_deadline,
            )
        )
    except TooMany as trouble:
        raise Denied(409, str(trouble)) from trouble


async def _find(at: Desk, task: TaskId) -> Stored | None:
    """The result of `task`, which may have come before the vote."""
    if (known := at.store.find(task)) is None and at.store.undecided(task=task):
        await at.judge.decide(at.store, task)
        known = at.store.find(task)
    return known


@routes.head("/v1/results/{task}", status_code=204, responses=_says(401, 404))
async def has(task: TaskId, at: At, authorization: Credential = "") -> Response:
    """Whether a result is here: 204 or 404."""
    at.tokens.uploader(authorization)
    return Response(status_code=204 if await _find(at, task) else 404)


@routes.get("/v1/results/{task}/ipfshash", responses=_says(404))
async def ipfs_hash(task: TaskId, at: At) -> str:
    """The content identifier of a result."""
    stored = await _find(at, task)
    if stored is None:
        raise Denied(404, f"There is no result of the task {task}.")
    return stored.cid


@routes.get("/v1/results/challenge", responses=_says())
async def challenge(at: At) -> str:
    """A text that a reader of a private store signs."""
    return at.tokens.challenge()


@routes.head("/ipfs/{cid}", responses={**_says(401, 403, 404), **_GIVES})
async def gateway_head(cid: str, at: At, authorization: Credential = "") -> Response:
    """Whether the content is here, and how long it is. In a private store: to its readers."""
    stored = (await _readable(at, cid, authorization))[0]
    headers = {"Content-Length": str(stored.size), "ETag": f'"{stored.cid}"'}
    return Response(headers=headers, media_type="application/zip")


@routes.get(
    "/ipfs/{cid}",
    response_class=FileResponse,
    responses={**_says(401, 403, 404, 416), **_GIVES},
)
async def gateway(cid: str, at: At, authorization: Credential = "") -> FileResponse:
    """The zip, as any IPFS gateway would give it. In a private store: to its readers only."""
    owners = await _readable(at, cid, authorization)
    headers = dict(_SAFE)
    if at.config.private:
        headers["Cache-Control"] = "private, no-store"
    return FileResponse(
        at.store.path(owners[0]),
        media_type="application/zip",
        filename=f"{owners[0].cid}.zip",
        headers={**headers, "ETag": f'"{owners[0].cid}"'},
    )


async def _readable(at: Desk, cid: str, authorization: str) -> list[Stored]:
    """Whose content it is, if the caller may read it."""
    owners = await _owners(at, cid)
    if at.config.private:
        reader = at.tokens.reader(authorization)
        if reader not in await at.judge.readers([stored.deal for stored in owners]):
            raise Denied(403, f"{reader} is neither beneficiary nor requester of this result.")
    return owners


async def _owners(at: Desk, cid: str) -> list[Stored]:
    """What was uploaded before a vote is shown to nobody until the vote was for it."""
    for task in at.store.undecided(cid=cid) if is_cid(cid) else []:
        await at.judge.decide(at.store, task)
    owners = at.store.owners(cid) if is_cid(cid) else []
    if not owners:
        raise Denied(404, f"There is no result {cid[:100]!r} here.")
    return owners
