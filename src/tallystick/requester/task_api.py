"""What the scheduler tells about a task: its story as it happens, its status, its logs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from tallystick.chain.wallet import Wallet
from tallystick.engine.errors import Unavailable
from tallystick.poco.values import TaskId
from tallystick.requester.login import authorization
from tallystick.requester.news import Happened, ReplicateView, Story
from tallystick.requester.refusals import NoSuchThing, NotYours
from tallystick.requester.session import Session

LONG_POLL = 20.0
"""Seconds that the scheduler may hold a request until something happens."""


@dataclass(frozen=True, slots=True)
class ComputeLogs:
    """What the app wrote at one worker."""

    worker: str
    stdout: str
    stderr: str


async def story(
    session: Session, task: TaskId, *, after: int = 0, wait: float = 0
) -> Story | None:
    """The facts after number `after`, waiting up to `wait` seconds for the first.

    None when the scheduler does not know the task (yet). Raises Unavailable.
    """
    parameters = {"after": str(after), "wait": str(wait)}
    answer = await _get(session, f"/tasks/{task}/story", params=parameters, wait=wait)
    return None if answer.status_code == 404 else _story(_body(answer))


async def workers(session: Session) -> list[Mapping[str, Any]]:
    """Who computes for the pool: name, address, slots, busy, heardSecondsAgo, alive."""
    return _list(await _get(session, "/workers"))


async def recent_tasks(session: Session, limit: int = 10) -> list[Mapping[str, Any]]:
    """The newest tasks, in short: chainTaskId, currentStatus, trust, replicates, …"""
    return _list(await _get(session, "/tasks", params={"limit": str(limit)}))


async def status(session: Session, task: TaskId) -> Mapping[str, Any]:
    """The task in the v9 vocabulary. Raises NoSuchThing, Unavailable."""
    answer = await _get(session, f"/tasks/{task}")
    if answer.status_code == 404:
        raise NoSuchThing(f"The scheduler does not know the task {task}.")
    return _body(answer)


async def logs(session: Session, task: TaskId, wallet: Wallet) -> tuple[ComputeLogs, ...]:
    """What the app wrote, worker by worker; `wallet` proves that we are the requester.

    Raises NotYours, NoSuchThing (no logs kept), Unavailable.
    """
    login = await _login(session, wallet)
    answer = await _get(session, f"/tasks/{task}/logs", headers={"Authorization": login})
    if answer.status_code in (401, 403):
        raise NotYours(f"The logs of {task} are shown to the requester of its deal only.")
    if answer.status_code == 404:
        raise NoSuchThing(f"The scheduler keeps no logs of {task}.")
    found = _body(answer).get("computeLogsList") or ()
    return tuple(
        ComputeLogs(str(log["walletAddress"]), log.get("stdout") or "", log.get("stderr") or "")
        for log in found
    )


async def _login(session: Session, wallet: Wallet) -> str:
    """The `hash_signature_address` that answers the scheduler's EIP-712 challenge."""
    parameters = {"address": str(wallet.address), "chainId": str(session.place.chain_id)}
    body = _body(await _get(session, "/tasks/logs/challenge", params=parameters))
    try:
        challenge = str(body["message"]["challenge"])
    except (KeyError, TypeError) as error:
        raise Unavailable("The scheduler's challenge makes no sense.") from error
    return authorization(challenge, chain_id=session.place.chain_id, wallet=wallet)


async def _get(
    session: Session, path: str, *, wait: float = 0, **request: Any
) -> httpx2.Response:
    base = session.place.scheduler_url.rstrip("/")
    timeout = httpx2.Timeout(10.0, read=wait + 10.0)
    try:
        answer = await session.http.get(base + path, timeout=timeout, **request)
    except httpx2.HTTPError as error:
        raise Unavailable(f"The scheduler at {base} does not answer ({error}).") from error
    if answer.status_code >= 500:
        raise Unavailable(f"The scheduler at {base} answered {answer.status_code}.")
    return answer


def _body(answer: httpx2.Response) -> Mapping[str, Any]:
    try:
        value = answer.raise_for_status().json()
    except (httpx2.HTTPError, ValueError) as error:
        raise Unavailable(f"The scheduler's answer makes no sense ({error}).") from error
    if not isinstance(value, dict):
        raise Unavailable("The scheduler's answer makes no sense (not an object).")
    return value


def _list(answer: httpx2.Response) -> list[Mapping[str, Any]]:
    try:
        value = answer.raise_for_status().json()
    except (httpx2.HTTPError, ValueError) as error:
        raise Unavailable(f"The scheduler's answer makes no sense ({error}).") from error
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _story(body: Mapping[str, Any]) -> Story:
    try:
        return Story(
            status=str(body["status"]),
            next=int(body["next"]),
            facts=tuple(_happened(fact) for fact in body["facts"]),
            replicates=tuple(_replicate(replicate) for replicate in body["replicates"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Unavailable(f"The scheduler's story makes no sense ({error!r}).") from error


def _happened(fact: Mapping[str, Any]) -> Happened:
    return Happened(
        seq=int(fact["seq"]),
        at=float(fact["at"]),
        kind=str(fact["kind"]),
        by=str(fact["by"]),
        worker=fact.get("worker"),
        text=str(fact["text"]),
    )


def _replicate(replicate: Mapping[str, Any]) -> ReplicateView:
    return ReplicateView(
        worker=str(replicate["worker"]),
        status=str(replicate.get("modern") or replicate["status"]),
        doing=replicate.get("doing"),
        cause=replicate.get("cause"),
        link=replicate.get("link"),
    )
