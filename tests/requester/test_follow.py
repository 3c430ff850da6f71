"""A task is followed to its end on chain, whatever the scheduler does meanwhile."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from tallystick.chain.wallet import Wallet
from tallystick.poco.orders import NO_DATASET_ORDER
from tallystick.requester.buy import Purchase, buy
from tallystick.requester.claim import claim
from tallystick.requester.follow import follow
from tallystick.requester.news import End, News, OnChain, Silent, Told
from tallystick.requester.orders import Wish, app_offer, pool_offers
from tallystick.requester.session import Place, Session, open_session

pytestmark = pytest.mark.anyio

WORKER = "0x" + "aa" * 20


@pytest.fixture
def chain(shared_chain):
    return shared_chain


def told(seq: int, kind: str) -> dict[str, Any]:
    fact = {"seq": seq, "at": 1.0, "kind": kind, "by": "worker", "worker": WORKER, "text": ""}
    status = {"worker": WORKER, "status": "x", "modern": kind.upper(), "doing": None}
    return {"status": "RUNNING", "next": seq, "facts": [fact], "replicates": [status]}


class Scheduler:
    """Gives one scripted answer after another, and then nothing any more."""

    def __init__(self, *answers: dict[str, Any] | int) -> None:
        self._answers: Iterator[dict[str, Any] | int] = iter(answers)
        self.asked: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(scope["query_string"].decode())
        answer = next(self._answers, None)
        if answer is None:
            await anyio.sleep_forever()
        status, body = (answer, b"") if isinstance(answer, int) else (200, json.dumps(answer))
        await send({"type": "http.response.start", "status": status, "headers": []})
        content = body if isinstance(body, bytes) else body.encode()
        await send({"type": "http.response.body", "body": content})


@asynccontextmanager
async def market(chain, folder: Path, scheduler: Scheduler) -> AsyncIterator[Session]:
    place = Place(
        chain_id=chain.chain_id,
        rpc_urls=(chain.url,),
        ws_url=chain.ws_url,
        hub=chain.hub,
        trust_hub=chain.hub,
        scheduler_url="http://scheduler",
        results_url="http://results",
        book=folder / "orders.json",
        state=folder / "client",
    )
    transport = httpx2.ASGITransport(scheduler)
    async with open_session(place) as session, httpx2.AsyncClient(transport=transport) as http:
        yield replace(session, http=http)


async def bought(chain, session: Session) -> Purchase:
    domain = session.hub.domain
    app = app_offer(chain.app, price=7, owner=Wallet(chain.app_owner.key), domain=domain)
    pool = Wallet(chain.scheduler.key)
    session.publish(
        *pool_offers(chain.workerpool, categories={1: 10**9}, owner=pool, domain=domain)
    )
    wallet, wish = Wallet(chain.requester.key), Wish(category=1)
    async for each in buy(session, wallet, wish, app=app, dataset=NO_DATASET_ORDER):
        return each
    raise AssertionError


async def test_the_chain_ends_a_task_and_the_scheduler_tells_its_story(chain, tmp_path):
    scheduler = Scheduler(told(3, "Started"), 503, 500, told(9, "Computed"))
    news: list[News] = []
    async with market(chain, tmp_path, scheduler) as session:
        purchase = await bought(chain, session)
        (task,), me = purchase.tasks, Wallet(chain.requester.key)

        def tell(each: News) -> None:
            news.append(each)
            if isinstance(each, Told) and each.story.next == 9:
                chain.set_time(purchase.deal.final_deadline)
                claiming.start_soon(claim, session, me, purchase.deal, 0)

        async with anyio.create_task_group() as claiming:
            end = await follow(session, task, purchase.deal, tell)
    assert end is End.FAILED
    assert [each.status for each in news if isinstance(each, OnChain)] == ["UNSET", "FAILED"]
    kinds = [fact.kind for each in news if isinstance(each, Told) for fact in each.story.facts]
    assert kinds == ["Started", "Computed"]
    assert len([each for each in news if isinstance(each, Silent)]) == 1
    assert [query.split("&")[0] for query in scheduler.asked[:4]] == [
        "after=0",
        "after=3",
        "after=3",
        "after=3",
    ]


async def test_a_task_that_nobody_claims_is_overdue(chain, tmp_path):
    async with market(chain, tmp_path, Scheduler()) as session:
        purchase = await bought(chain, session)
        chain.set_time(purchase.deal.final_deadline + 60)
        end = await follow(session, purchase.tasks[0], purchase.deal, lambda _: None)
    assert end is End.OVERDUE


async def test_a_story_that_makes_no_sense_is_only_silence(chain, tmp_path):
    news: list[News] = []
    async with market(chain, tmp_path, Scheduler({"status": 3})) as session:
        purchase = await bought(chain, session)
        chain.set_time(purchase.deal.final_deadline + 60)
        await follow(session, purchase.tasks[0], purchase.deal, news.append)
    assert not any(isinstance(each, Told) for each in news)
