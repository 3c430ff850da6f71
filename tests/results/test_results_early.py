"""Results that come before the vote: where one vote decides, and shown only once it did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from results_lab import Market, Result, result, wallet

from tallystick.engine.errors import Refused, Unavailable
from tallystick.poco.values import TaskId
from tallystick.storage.cid import cid_v0
from tallystick.wire.results import ResultsClient, result_link

pytestmark = pytest.mark.anyio


async def publish(
    market: Market, store: ResultsClient, task: TaskId, worker: Any, what: Result
) -> str:
    permission = market.authorization(task, worker)
    return await store.publish(permission, wallet(worker).sign_message, what.archive)


def finish(market: Market, task: TaskId, worker: Any, what: Result, place: str) -> None:
    call = market.calls.contribute_and_finalize(
        task,
        what.digest,
        results=result_link("ipfs", place),
        authorization=market.authorization(task, worker).signature.value,
    )
    market.send(worker, call)


async def test_what_came_before_the_vote_is_the_result_once_the_vote_was_for_it(
    market: Market, store: ResultsClient, worker: Any, good: Result, tmp_path: Path
) -> None:
    task, lie = market.task(), result(tmp_path / "lie", "Another result")
    place = await publish(market, store, task, worker, good)
    other = await publish(market, store, task, market.chain.workers[1], lie)
    assert place == f"/ipfs/{cid_v0(good.archive)}" != other
    assert place == await publish(market, store, task, worker, good), "again is no trouble"
    for early in (place, other):
        assert (await store._http.get(early)).status_code == 404, "nobody has voted for it"
    assert not await store.holds(task)

    finish(market, task, worker, good, place)
    assert (await store._http.get(place)).content == good.archive.read_bytes()
    assert await store.location(task) == place
    assert (await store._http.get(other)).status_code == 404


async def test_only_where_one_vote_decides_and_none_was_cast(
    market: Market, store: ResultsClient, worker: Any, good: Result
) -> None:
    task = market.task()
    market.contribute(task, worker, good.digest)
    with pytest.raises((Unavailable, Refused)):
        await publish(market, store, task, market.chain.workers[1], good)


async def test_a_worker_brings_a_few_results_of_a_task_and_no_more(
    market: Market, store: ResultsClient, worker: Any, tmp_path: Path
) -> None:
    task = market.task()
    for number in range(4):
        more = result(tmp_path / str(number), f"Result {number}")
        await publish(market, store, task, worker, more)
    with pytest.raises(Refused, match="brought 4 results"):
        await publish(market, store, task, worker, result(tmp_path / "last", "One more"))
