"""The store is what its OpenAPI document says, for callers who send nonsense too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import anyio
import pytest
import requests
import schemathesis
from anyio import to_thread
from hypothesis import HealthCheck, Phase, given, settings
from results_lab import Market, Result, client_of, wallet
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tallystick.chain.hub import Hub
from tallystick.results.app import create_app
from tallystick.results.config import ResultsConfig
from tallystick.wire import serving

pytestmark = pytest.mark.anyio

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@asynccontextmanager
async def over_http(app: Any) -> AsyncIterator[str]:
    with serving.listen("127.0.0.1", 0) as sock:
        async with anyio.create_task_group() as tasks:
            await tasks.start(serving.serve, app, sock)
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
            tasks.cancel_scope.cancel()


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
        look(case)

    run()


def sweep(url: str, schema: Any, examples: int, known: dict[str, str], token: str) -> set[str]:
    """Every route; every other request has a good token and names what is really there.
    Returns the routes that answered well."""
    good, turns = set[str](), count()
    with requests.Session() as session:
        session.trust_env = False

        def look(case: Any) -> None:
            real = next(turns) % 2
            if real:
                case.headers = {**(case.headers or {}), "authorization": token}
            for name in case.path_parameters or {} if real else ():
                case.path_parameters[name] = known[name]
            answer = case.call(base_url=url, session=session)
            case.validate_response(answer, checks=CHECKS)
            assert b"Traceback" not in answer.content
            if answer.status_code < 400:
                good.add(case.operation.label)

        for found in schema.get_all_operations():
            each(found.ok(), examples, look)
    return good


@pytest.mark.parametrize("examples", [2, pytest.param(40, marks=pytest.mark.long)])
async def test_every_answer_is_as_documented_and_none_is_a_bug(
    market: Market,
    config: ResultsConfig,
    hub: Hub,
    worker: Any,
    good: Result,
    examples: int,
):
    app = create_app(config, hub)
    async with client_of(app) as store:
        task, signer = market.revealed(good.digest, worker), wallet(worker).sign_message
        authorization = market.authorization(task, worker)
        place = await store.deliver(authorization, signer, good.archive)
        token = await store.token(authorization, signer)
    schema = schemathesis.openapi.from_dict(app.openapi())
    known = {"task": str(task), "cid": place.removeprefix("/ipfs/")}
    async with over_http(app) as url:
        served = await to_thread.run_sync(sweep, url, schema, examples, known, token)
    app.state.desk.store.close()
    assert served >= {
        *("GET /version", "GET /prometheus", "GET /v1/results/challenge"),
        *("GET /ipfs/{cid}", "HEAD /ipfs/{cid}", "HEAD /v1/results/{task}"),
        *("GET /v1/results/{task}/ipfshash", "PUT /v1/results/{task}"),
    }
