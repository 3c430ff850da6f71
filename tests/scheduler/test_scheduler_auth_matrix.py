"""Every route of a scheduler × everything that is no proof of being allowed to use it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import httpx2
import jwt
import pytest
from auth_matrix import unclassified
from scheduler_office import Office, settings

from tallystick.chain.wallet import Wallet
from tallystick.poco.values import Address, TaskId
from tallystick.scheduler.front import front
from tallystick.wire.auth import log_challenge_hash
from tallystick.wire.scheduler import ComputeLogs

pytestmark = pytest.mark.anyio

PUBLIC, WORKER, REQUESTER = "everybody", "a worker's token", "a requester's signature"
OWNER, OPERATOR = "the token of the pool's owner", "the session of an operator"
JOINING: Final = dict.fromkeys(
    (
        *("GET /join", "GET /join.json", "GET /join-worker-pool.sh"),
        *("GET /join/files/", "GET /join/files/{name}"),
    ),
    PUBLIC,
)
"""What the join page adds where it is wanted."""
WHO: Final = {
    **dict.fromkeys(
        (
            *("GET /version", "GET /workers/config", "GET /config/chain"),
            *("GET /workers/challenge", "POST /workers/login"),
            *("GET /tasks/logs/challenge", "GET /tasks/{task_id}"),
            *("GET /tasks/{task_id}/story", "GET /tasks/{task_id}/replicates/{worker}"),
            "GET /tasks/{task_id}/replicates/{worker}/history",
            *("GET /tasks", "GET /workers", "GET /workers/{worker}"),
            *("GET /deals", "GET /deals/{deal_id}", "GET /orders", "GET /pool"),
            *("GET /metrics", "GET /prometheus", "GET /health", "GET /ready"),
            *("GET /openapi.json", "GET /docs", "GET /static/{name}", "MOUNT /connect"),
            *("GET /", "GET /dashboard", "GET /dashboard/events", "GET /dashboard/feed"),
            *("GET /dashboard/workers", "GET /dashboard/workers/{worker}"),
            *("GET /dashboard/tasks", "GET /dashboard/tasks/{task}"),
            *("GET /dashboard/deals", "GET /dashboard/deals/{deal}"),
            *("GET /dashboard/login", "POST /dashboard/login", "POST /dashboard/login/wallet"),
        ),
        PUBLIC,
    ),
    **dict.fromkeys(
        (
            *("POST /workers/ping", "POST /workers/leave", "POST /workers/register"),
            *("GET /workers/computing", "GET /replicates/available"),
            *("GET /replicates/facts", "GET /replicates/interrupted"),
            "POST /replicates/{task_id}/updateStatus",
        ),
        WORKER,
    ),
    **dict.fromkeys(
        ("GET /tasks/{task_id}/logs", "GET /tasks/{task_id}/replicates/{worker}/logs"),
        REQUESTER,
    ),
    "POST /dashboard/links": OWNER,
    **dict.fromkeys(
        (
            *("GET /dashboard/operator", "POST /dashboard/logout"),
            *("POST /dashboard/operator/block", "POST /dashboard/operator/unblock"),
            "POST /dashboard/operator/course",
        ),
        OPERATOR,
    ),
}
PRINTED: Final = "what only the requester may read"
ELSEWHERE: Final = Address(b"\x09" * 20)


def guarded(who: str) -> list[str]:
    return [route for route, whose in WHO.items() if whose == who]


async def test_every_route_is_classified(office: Office):
    assert unclassified(office.app, WHO) == ""


async def test_what_the_join_page_adds_is_for_everybody(office: Office):
    async def is_uploaded(*_: object) -> bool:
        return False

    config = replace(settings(office.chain, office.folder), join=True)
    app = front(config, office.pool, office.journal, is_uploaded)
    assert unclassified(app, {**WHO, **JOINING}) == ""


def jwt_of(office: Office, **wanted: Any) -> str:
    """A worker's token of our own making."""
    tokens = office.app.state.desk.tokens
    now = int(time.time())
    claims = {
        "aud": "iexec-core",
        "iss": str(office.chain.workerpool),
        "sub": str(office.wallet(0).address),
        "iat": now,
        "exp": now + 600,
    }
    key, algorithm = wanted.pop("key", tokens._key), wanted.pop("algorithm", "HS256")
    claims = {name: each for name, each in {**claims, **wanted}.items() if each is not None}
    return jwt.encode(claims, key, algorithm=algorithm)


def false_tokens(office: Office) -> dict[str, str]:
    """What is no token of a worker of this pool, by why not."""
    now, good = int(time.time()), jwt_of(office)
    head, body, signature = good.split(".")
    another = jwt_of(office, sub=str(office.wallet(1).address)).split(".")[1]
    sessions = office.app.state.sessions
    claims = {"aud": "tallystick session", "iss": str(sessions.pool), "jti": "ab" * 16}
    session = {**claims, "sub": str(sessions.owner), "exp": now + 600}
    return {
        "nothing": "",
        "no scheme": good,
        "another scheme": f"Basic {good}",
        "an empty token": "Bearer ",
        "garbage": "Bearer x.y.z",
        "very long": "Bearer " + "a" * 9_000,
        "not text": "Bearer \xff\xfe",
        "too old": f"Bearer {jwt_of(office, exp=now - 1)}",
        "without an end": f"Bearer {jwt_of(office, exp=None)}",
        "of another pool": f"Bearer {jwt_of(office, iss=str(ELSEWHERE))}",
        "of no pool": f"Bearer {jwt_of(office, iss=None)}",
        "for something else": f"Bearer {jwt_of(office, aud='results')}",
        "of another key": f"Bearer {jwt_of(office, key=bytes(32))}",
        "unsigned": f"Bearer {jwt_of(office, key='', algorithm='none')}",
        "of nobody": f"Bearer {jwt_of(office, sub='me')}",
        "with another's name put in": f"Bearer {head}.{another}.{signature}",
        "cut off": f"Bearer {head}.{body}.{signature[:-4]}",
        "a session": f"Bearer {jwt.encode(session, sessions.key, 'HS256')}",
    }


BODIES: Final[dict[str, dict[str, Any]]] = {
    "POST /workers/register": {"json": {"name": "x", "cpuNb": 1, "os": "Linux"}},
    "GET /replicates/available": {"params": {"blockNumber": 5}},
    "GET /replicates/interrupted": {"params": {"blockNumber": 5}},
    "POST /replicates/{task_id}/updateStatus": {"json": {"status": "STARTED"}},
    "GET /workers/challenge": {"params": {"walletAddress": "0x" + "11" * 20}},
    "GET /tasks/logs/challenge": {"params": {"address": "0x" + "11" * 20}},
}


async def ask(office: Office, route: str, task: TaskId, **more: Any) -> httpx2.Response:
    """A request that would be served if only its proof were one."""
    verb, path = route.split(" ")
    known = office.pool.engine.states[str(task)]
    there = path.format(
        task_id=task,
        task=task,
        worker=office.wallet(0).address,
        deal_id=known.deal.id,
        deal=known.deal.id,
        name="tally.css",
    )
    sent = {**BODIES.get(route, {}), **more}
    return await office.http.request(verb, there, **sent)


async def at_work(office: Office) -> tuple[dict[str, str], TaskId]:
    """A worker with a replicate that has begun, and logs of it."""
    headers, task = await office.member(0), office.buy()
    office.open(task)
    await office.demand(headers)
    await office.report(headers, task, "STARTING")
    office.app.state.window.logs.write(
        task, office.wallet(0).address, ComputeLogs(stdout=PRINTED, stderr="")
    )
    return headers, task


def known(office: Office) -> tuple[str, str]:
    """All that a request could change."""
    models = {str(each): repr(office.pool.roster.model(each)) for each in workers(office)}
    return repr(office.pool.engine.states), repr(models)


def workers(office: Office) -> Iterator[Address]:
    for number in range(3):
        yield office.wallet(number).address


def unleaked(office: Office, answer: httpx2.Response) -> None:
    told = answer.text
    secret = office.app.state.desk.tokens._key
    assert PRINTED not in told
    assert secret.hex() not in told
    assert "Traceback" not in told
    assert "www-authenticate" not in answer.headers


async def test_without_a_workers_token_there_is_nothing_for_workers(office: Office):
    _, task = await at_work(office)
    before = known(office)
    for why, token in false_tokens(office).items():
        headers = {"authorization": token.encode("latin-1")} if token else {}
        for route in guarded(WORKER):
            answer = await ask(office, route, task, headers=headers)
            wanted = 401 if token else 400  # v9 workers log in again after a 401 only
            assert answer.status_code == wanted, (why, route, answer.text)
            assert "retry-after" not in answer.headers, "v9 workers would not log in again"
            unleaked(office, answer)
    assert known(office) == before
    good = {"authorization": f"Bearer {jwt_of(office)}"}
    for route in sorted(guarded(WORKER), key=lambda route: route == "POST /workers/leave"):
        answer = await ask(office, route, task, headers=good)
        assert answer.status_code < 300, (route, answer.text)


async def test_a_worker_touches_nothing_of_another(office: Office):
    _, task = await at_work(office)
    headers, him = await office.member(1), office.wallet(0).address
    before = repr(office.pool.engine.states)
    for status in ("STARTED", "COMPUTED", "RESULT_UPLOADED", "COMPUTE_FAILED", "ABORTED"):
        code, word = await office.report(headers, task, status, resultLink="x")
        assert (code, word) in ((202, "PLEASE_ABORT"), (208, "PLEASE_WAIT"))
    for route in ("GET /workers/computing", "GET /replicates/interrupted"):
        assert (await ask(office, route, task, headers=headers)).json() == []
    heard = await ask(office, "GET /replicates/facts", task, headers=headers)
    assert heard.json()["news"] == []
    model = {"name": "me too", "walletAddress": str(him), "cpuNb": 9, "os": "Linux"}
    answer = await office.http.post("/workers/register", json=model, headers=headers)
    assert answer.json()["walletAddress"] == str(office.wallet(1).address)
    theirs = office.pool.roster.model(him)
    assert theirs is not None
    assert theirs.name == "w0"
    assert (await office.http.post("/workers/leave", headers=headers)).status_code == 204
    assert repr(office.pool.engine.states) == before
    public = await office.http.get(f"/workers/{him}")
    assert public.json()["alive"] is True


async def proof(
    office: Office, wallet: Wallet, claimed: Address, chain: int | None = None
) -> dict[str, str]:
    """A requester's signature that `wallet` gives for `claimed`."""
    asked = await office.http.get("/tasks/logs/challenge", params={"address": str(claimed)})
    text = asked.json()["message"]["challenge"]
    digest = log_challenge_hash(chain or office.hub.domain.chain_id, text)
    signed = f"0x{wallet.sign_hash(digest).hex()}"
    return {"authorization": f"{digest}_{signed}_{claimed}"}


async def test_what_was_printed_is_for_who_bought_it(office: Office):
    worker, task = await at_work(office)
    buyer = Wallet(office.chain.requester.key)
    mine = await proof(office, buyer, buyer.address)
    three = mine["authorization"].split("_")
    false = {
        "nothing": ({}, 401),
        "garbage": ({"authorization": "x"}, 401),
        "three of it": ({"authorization": "a_b_c"}, 401),
        "a worker's token": (worker, 401),
        "no signature": ({"authorization": f"{three[0]}_0x_{three[2]}"}, 401),
        "another's signature": (await proof(office, office.wallet(1), buyer.address), 401),
        "for another chain": (await proof(office, buyer, buyer.address, chain=1), 401),
        "another who signs": (
            await proof(office, office.wallet(0), office.wallet(0).address),
            403,
        ),
        "four of it": ({"authorization": mine["authorization"] + "_x"}, 401),
    }
    for route in guarded(REQUESTER):
        for why, (headers, status) in false.items():
            answer = await ask(office, route, task, headers=headers)
            assert answer.status_code in {status, 401, 403}, (why, route, answer.text)
            assert answer.status_code == status or why == "three of it", (why, answer.text)
            unleaked(office, answer)
        answer = await ask(office, route, task, headers=mine)
        assert (answer.status_code, PRINTED in answer.text) == (200, True)


async def test_only_the_pools_owner_gets_a_link(office: Office):
    worker, task = await at_work(office)
    (route,) = guarded(OWNER)
    for number, (why, token) in enumerate(false_tokens(office).items()):
        headers = {"authorization": token.encode("latin-1")} if token else {}
        there = (f"10.0.0.{number}", 1)  # who tries often from one address has to wait
        transport = httpx2.ASGITransport(office.app, client=there)
        async with httpx2.AsyncClient(transport=transport, base_url="http://pool") as http:
            answer = await http.post(route.split(" ")[1], headers=headers)
        assert answer.status_code in (400, 401), (why, answer.text)
        unleaked(office, answer)
    assert (await ask(office, route, task, headers=worker)).status_code == 403
    owner = await office.login(office.pool.wallet)
    assert (await ask(office, route, task, headers=owner)).status_code == 201


async def test_no_token_of_any_kind_is_an_operators_session(office: Office):
    """Cookies of our own making are in `test_dashboard_login`."""
    worker, task = await at_work(office)
    buyer = Wallet(office.chain.requester.key)
    owner = await office.login(office.pool.wallet)
    name = f"tally-{str(office.chain.workerpool)[2:14]}"
    before = known(office)
    for headers in ({}, worker, owner, await proof(office, buyer, buyer.address)):
        token = headers.get("authorization", "").removeprefix("Bearer ")
        for cookie in ({}, {"cookie": f"{name}={token}"}):
            for route in guarded(OPERATOR):
                form = {"data": {"csrf": "0" * 64, "sure": "yes"}} if "POST" in route else {}
                answer = await ask(office, route, task, headers={**headers, **cookie}, **form)
                assert answer.status_code in (401, 403), (route, answer.status_code)
                unleaked(office, answer)
    assert known(office) == before


async def test_what_everybody_may_read_is_the_same_with_any_token(office: Office):
    """And holds no secret. Routes that go on for ever are left out."""
    worker, task = await at_work(office)
    bare = {"authorization": "Bearer nonsense"}
    endless = ("MOUNT /connect", "GET /dashboard/events")
    for route in guarded(PUBLIC):
        if route in endless or not route.startswith("GET"):
            continue
        answers = [await ask(office, route, task, headers=each) for each in ({}, bare, worker)]
        assert {each.status_code for each in answers} <= {200, 503}, (route, answers)
        assert len({each.status_code for each in answers}) == 1, route
        for each in answers:
            unleaked(office, each)
