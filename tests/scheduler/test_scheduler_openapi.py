"""The interface is what its OpenAPI document says, for callers who send nonsense too.

schemathesis makes requests from the document, and sends them over real HTTP to a scheduler with
a task at work.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import anyio
import pytest
import requests
import schemathesis
from anyio import to_thread
from hypothesis import HealthCheck, Phase, given, settings
from scheduler_office import NOW, Office
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tallystick.chain.records import Head
from tallystick.poco.values import Hash
from tallystick.scheduler.front import bare
from tallystick.scheduler.reference import document
from tallystick.wire import serving

pytestmark = pytest.mark.anyio

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
SCHEMA = schemathesis.openapi.from_dict(document(bare()))
DOORS = {413, 414, 431}
"""What every route may answer; the document says so once."""


@asynccontextmanager
async def at_work(office: Office) -> AsyncIterator[tuple[str, dict[str, str]]]:
    """The scheduler over HTTP with a worker that computes, and that worker's token."""
    signs = office.app.state.vitals
    signs.recovered, signs.clock = True, lambda: NOW
    signs.head = lambda: Head(1, Hash(bytes(32)), Hash(bytes(32)), NOW)
    headers = await office.member(0)
    task = office.buy()
    office.open(task)
    await office.demand(headers)
    for status in ("STARTED", "APP_DOWNLOADED", "DATA_DOWNLOADED"):
        await office.report(headers, task, status)
    logs = {"stdout": "42"}
    await office.report(headers, task, "COMPUTED", exitCode=0, computeLogs=logs)
    with serving.listen("127.0.0.1", 0) as sock:
        async with anyio.create_task_group() as tasks:
            await tasks.start(serving.serve, office.app, sock)
            yield f"http://127.0.0.1:{sock.getsockname()[1]}", headers
            tasks.cancel_scope.cancel()


def operations() -> Iterator[Any]:
    for found in SCHEMA.get_all_operations():
        yield found.ok()


def each(operation: Any, examples: int, look: Any) -> None:
    """Call `look` with so many requests to one route."""

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def run(case: Any) -> None:
        if "wait" in (case.query or {}):
            case.query["wait"] = 0  # the longest wait is another test's
        look(case)

    run()


def sweep(url: str, token: dict[str, str], examples: int, known: dict[str, Any]) -> set[str]:
    """Every route, with a worker's token; every other request names what is really there.
    Returns the routes that answered well."""
    good, turns = set[str](), count()
    with requests.Session() as session:
        session.trust_env = False

        def look(case: Any) -> None:
            case.headers = {**(case.headers or {}), **token}
            for name in case.path_parameters or {} if next(turns) % 2 else ():
                case.path_parameters[name] = known[name]
            answer = case.call(base_url=url, session=session)
            if answer.status_code not in DOORS:
                case.validate_response(answer, checks=CHECKS)
            if answer.status_code >= 400:
                assert answer.json()["message"]
                assert "Traceback" not in answer.text
            else:
                good.add(case.operation.label)

        for operation in operations():
            each(operation, examples, look)
    return good


@pytest.mark.parametrize("examples", [3, pytest.param(25, marks=pytest.mark.long)])
async def test_every_answer_is_as_documented_and_none_is_a_bug(office: Office, examples: int):
    async with at_work(office) as (url, token):
        (task,) = office.pool.engine.states.values()
        known = {
            "task_id": str(task.id),
            "worker": str(office.wallet(0).address),
            "deal_id": str(task.deal.id),
        }
        good = await to_thread.run_sync(sweep, url, token, examples, known)
    paths = [path for path, verbs in document(bare())["paths"].items() if "get" in verbs]
    owned = {path for path in paths if path.endswith("}/logs")}
    asked = {"/workers/challenge", "/tasks/logs/challenge"}
    asked |= {"/replicates/available", "/replicates/interrupted"}
    assert {f"GET {path}" for path in paths if path not in owned | asked} <= good
    assert "POST /workers/ping" in good


async def test_nobody_comes_in_without_a_proof(office: Office):
    """Whatever is sent along with no token, a token of nobody, or a signature of nobody."""
    closed = [each for each in operations() if each.definition.raw.get("security")]
    assert len(closed) == 10
    seen = set[int]()

    def walk(url: str) -> None:
        with requests.Session() as session:
            session.trust_env = False

            def look(case: Any) -> None:
                answer = case.call(base_url=url, session=session)
                seen.add(answer.status_code)
                assert answer.status_code in {400, 401, 403, 404, *DOORS}, answer.text

            for operation in closed:
                each(operation, 4, look)

    async with at_work(office) as (url, _):
        before = {key: repr(task) for key, task in office.pool.engine.states.items()}
        await to_thread.run_sync(walk, url)
        after = {key: repr(task) for key, task in office.pool.engine.states.items()}
    assert 401 in seen
    assert after == before
