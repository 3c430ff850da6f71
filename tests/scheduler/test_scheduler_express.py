"""What workers ask all the time has the same answers on the short way as on the long one."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from scheduler_office import Office

from tallystick.scheduler import express
from tallystick.scheduler.express import Express
from tallystick.wire.scheduler import INSTANCE

pytestmark = pytest.mark.anyio

USUAL = [
    ("POST", "/workers/ping", ""),
    ("GET", "/replicates/available", "blockNumber=5"),
    ("GET", "/replicates/available", "blockNumber=0&wait=0.5"),
    ("GET", "/replicates/available", "blockNumber=5&wait=0"),
    ("GET", "/replicates/facts", "after=0&of=&wait=0"),
    ("GET", "/replicates/facts", "after=7&of=0123456789abcdef&wait=0"),
]
ODD = [
    ("GET", "/workers/ping", ""),
    ("GET", "/replicates/available", ""),
    ("GET", "/replicates/available", "blockNumber=-1"),
    ("GET", "/replicates/available", "blockNumber=5&wait=nan"),
    ("GET", "/replicates/available", "blockNumber=5&wait=-1"),
    ("GET", "/replicates/facts", f"after={1 << 63}&of=&wait=0"),
]


async def both_ways(
    office: Office, verb: str, path: str, query: str, headers: dict[str, str]
) -> list[httpx2.Response]:
    """The answer as it is, and the one with a parameter that the short way does not know."""
    long = f"{query}&more=1" if query else "more=1"
    return [
        await office.http.request(verb, f"{path}?{each}", headers=headers)
        for each in (query, long)
    ]


def same(short: httpx2.Response, long: httpx2.Response) -> bool:
    keys = ("content-type", "x-no-work", "content-length", "retry-after")
    told = [
        (each.status_code, each.content, [each.headers.get(key) for key in keys])
        for each in (short, long)
    ]
    return told[0] == told[1]


@pytest.fixture
def express_only(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Notes what takes the short way."""
    taken: list[str] = []
    asked = express._asked

    def noted(scope: Any) -> Any:
        if (found := asked(scope)) is not None:
            taken.append(scope["query_string"].decode())
        return found

    monkeypatch.setattr(express, "_asked", noted)
    return taken


@pytest.mark.parametrize(("verb", "path", "query"), USUAL)
async def test_the_same_answer_on_both_ways(
    office: Office, express_only: list[str], verb: str, path: str, query: str
):
    me = await office.member(0)
    short, long = await both_ways(office, verb, path, query, me)
    assert short.status_code in (200, 204)
    assert same(short, long), (short.text, long.text)
    assert express_only == [query]


@pytest.mark.parametrize(("verb", "path", "query"), USUAL)
async def test_the_same_refusals_on_both_ways(
    office: Office, express_only: list[str], verb: str, path: str, query: str
):
    me = await office.member(1)
    for headers, status in (
        ({}, 400),
        ({"authorization": "Bearer nonsense"}, 401),
        (me, 409),
    ):
        office.pool.roster._instances[office.wallet(1).address] = "another"
        named = headers | {INSTANCE: "mine"}
        short, long = await both_ways(office, verb, path, query, named)
        assert short.status_code == status
        assert same(short, long), (short.text, long.text)
    assert len(express_only) == 3


@pytest.mark.parametrize(("verb", "path", "query"), ODD)
async def test_what_is_odd_goes_the_long_way(
    office: Office, express_only: list[str], verb: str, path: str, query: str
):
    me = await office.member(0)
    answer = await office.http.request(verb, f"{path}?{query}", headers=me)
    assert answer.status_code in (204, 400, 405)
    assert answer.status_code == 204 or "GET /docs" in answer.json()["message"]
    assert express_only == []


async def test_who_asks_too_often_is_told_so(office: Office):
    me = await office.member(2)
    office.app.state.desk.allowance._rate = 1e-3
    statuses = [
        (await office.http.post("/workers/ping", headers=me)).status_code for _ in range(600)
    ]
    assert statuses[0] == 200
    assert statuses[-1] == 429


async def test_behind_a_prefix_the_long_way_is_taken(express_only: list[str]):
    seen = []

    async def rest(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["path"])

    asked = {"type": "http", "method": "POST", "path": "/pool/workers/ping", "headers": []}
    short = Express(rest, ping=rest, available=rest, facts=rest)  # type: ignore[arg-type]
    await short(asked | {"root_path": "/pool", "query_string": b""}, None, None)  # type: ignore[arg-type]
    assert (seen, express_only) == (["/pool/workers/ping"], [])
