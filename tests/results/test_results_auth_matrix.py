"""Every route of a result store × everything that is no proof of being allowed to use it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Final

import jwt
import pytest
from auth_matrix import unclassified
from results_lab import Market, Result, client_of, wallet

from tallystick.chain.hub import Hub
from tallystick.poco.values import Address
from tallystick.results.app import create_app
from tallystick.results.config import ResultsConfig
from tallystick.wire.results import ResultsClient, access_message

pytestmark = pytest.mark.anyio

PUBLIC, BOTH, UPLOADER, READER = "everybody", "both signatures", "an upload token", "readers"
WHO: Final = {
    **dict.fromkeys(
        (
            *("GET /version", "GET /prometheus", "GET /openapi.json"),
            *("GET /v1/results/challenge", "GET /v1/results/{task}/ipfshash"),
        ),
        PUBLIC,
    ),
    "POST /v1/results/token": BOTH,
    **dict.fromkeys(
        ("POST /v1/results", "PUT /v1/results/{task}", "HEAD /v1/results/{task}"), UPLOADER
    ),
    **dict.fromkeys(("GET /ipfs/{cid}", "HEAD /ipfs/{cid}"), READER),
}
"""`READER` holds in a private store; in any other a result is for everybody."""


@pytest.fixture
async def vault(config: ResultsConfig, hub: Hub) -> AsyncIterator[ResultsClient]:
    """A private store."""
    app = create_app(replace(config, private=True), hub)
    async with client_of(app) as client:
        client._http.app = app  # type: ignore[attr-defined]
        yield client
    app.state.desk.store.close()


def app_of(store: ResultsClient) -> Any:
    return store._http.app  # type: ignore[attr-defined]


async def test_every_route_is_classified(vault: ResultsClient):
    assert unclassified(app_of(vault), WHO) == ""


def forged(store: ResultsClient, **wanted: Any) -> str:
    tokens, now = app_of(store).state.desk.tokens, int(time.time())
    claims = {"aud": wanted.pop("who"), "sub": "ab" * 16, "iat": now, "exp": now + 600}
    key, algorithm = wanted.pop("key", tokens._key), wanted.pop("algorithm", "HS256")
    claims = {name: each for name, each in {**claims, **wanted}.items() if each is not None}
    return jwt.encode(claims, key, algorithm=algorithm)


def false_tokens(store: ResultsClient, me: Address) -> dict[str, str]:
    """What is no upload token of this store, by why not."""
    who, now = str(me), int(time.time())
    good = forged(store, who=who)
    return {
        "nothing": "",
        "garbage": "x.y.z",
        "with a scheme": f"Bearer {good}",
        "too old": forged(store, who=who, exp=now - 1),
        "without an end": forged(store, who=who, exp=None),
        "of another key": forged(store, who=who, key=b"k" * 32),
        "unsigned": forged(store, who=who, key="", algorithm="none"),
        "of nobody": forged(store, who="me"),
        "of no wallet": forged(store, who=None),
        "a challenge": app_of(store).state.desk.tokens.challenge(),
        "cut off": good[:-4],
        "very long": "a" * 9_000,
    }


async def test_nobody_uploads_or_asks_without_an_upload_token(
    market: Market, vault: ResultsClient, worker: Any, good: Result
):
    task = market.revealed(good.digest, worker)
    for why, token in false_tokens(vault, worker.address).items():
        headers = {"authorization": token} if token else {}
        for verb, path, sent in (
            ("PUT", f"/v1/results/{task}", {"content": good.archive.read_bytes()}),
            ("POST", "/v1/results", {"json": {"chainTaskId": str(task), "zip": ""}}),
            ("HEAD", f"/v1/results/{task}", {}),
        ):
            answer = await vault._http.request(verb, path, headers=headers, **sent)
            assert answer.status_code == 401, (why, verb, path, answer.text)
            assert "Traceback" not in answer.text
    assert (await vault._http.get(f"/v1/results/{task}/ipfshash")).status_code == 404
    other = market.chain.workers[1]
    stranger = {"authorization": forged(vault, who=str(other.address))}
    content = good.archive.read_bytes()
    answer = await vault._http.put(f"/v1/results/{task}", content=content, headers=stranger)
    assert answer.status_code in (401, 403), "it did not reveal this"
    mine = {"authorization": forged(vault, who=str(worker.address))}
    answer = await vault._http.put(f"/v1/results/{task}", content=content, headers=mine)
    assert answer.status_code == 200, answer.text


async def test_an_upload_token_takes_the_worker_and_the_pools_owner(
    market: Market, vault: ResultsClient, worker: Any
):
    task, other = market.task(), market.chain.workers[1]
    own = market.authorization(task, worker)
    foreign = market.authorization(task, worker, signer=other)
    for body in (own, foreign):
        for proof in ("", "x", "0x", "0x" + "00" * 65, "0x" + "ff" * 65, "Bearer x"):
            headers = {"authorization": proof, "content-type": "application/json"}
            answer = await vault._http.post(
                "/v1/results/token", content=body.json_bytes(), headers=headers
            )
            assert answer.status_code == 401, (proof, answer.text)
            assert "." not in answer.text.split(" ")[0], "no token"


async def test_what_is_private_is_told_to_its_readers_only(
    market: Market, vault: ResultsClient, worker: Any, good: Result
):
    task = market.revealed(good.digest, worker)
    signer = wallet(worker).sign_message
    place = await vault.deliver(market.authorization(task, worker), signer, good.archive)
    requester, stranger = market.chain.requester, market.chain.workers[5]
    now = int(time.time())

    def answered(challenge: str, actor: Any, claimed: Address) -> str:
        message = access_message(claimed, "http://results.test", challenge)
        return f"{challenge} {claimed} 0x{wallet(actor).sign_message(message).hex()}"

    async def challenge() -> str:
        return (await vault._http.get("/v1/results/challenge")).text

    mine = requester.address
    false = {
        "nothing": ("", 401),
        "garbage": ("x", 401),
        "an upload token": (forged(vault, who=str(mine)), 401),
        "no signature": (f"{await challenge()} {mine} 0x", 401),
        "another's signature": (answered(await challenge(), stranger, mine), 401),
        "too old": (answered(forged(vault, who="read", exp=now - 1), requester, mine), 401),
        "of another key": (
            answered(forged(vault, who="read", key=b"k" * 32), requester, mine),
            401,
        ),
        "a stranger": (answered(await challenge(), stranger, stranger.address), 403),
        "the worker": (answered(await challenge(), worker, worker.address), 403),
    }
    for why, (access, status) in false.items():
        headers = {"authorization": access} if access else {}
        for verb in ("GET", "HEAD"):
            answer = await vault._http.request(verb, place, headers=headers)
            assert answer.status_code == status, (why, verb, answer.text)
            assert answer.headers.get("etag") is None, "not even how long it is"
    good_one = {"authorization": answered(await challenge(), requester, mine)}
    for verb in ("GET", "HEAD"):
        answer = await vault._http.request(verb, place, headers=good_one)
        assert answer.status_code == 200
