"""A worker's connection to its scheduler, over a real socket."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from fastapi import FastAPI, Response
from scheduler_office import Office

from tallystick.engine.errors import Refused, Unavailable
from tallystick.poco.values import TaskId
from tallystick.wire import serving
from tallystick.wire.auth import Tokens
from tallystick.wire.scheduler import (
    ChainConfig,
    NotRegistered,
    NotYet,
    SchedulerClient,
    StatusUpdate,
    Unwelcome,
    WorkerModel,
)

pytestmark = pytest.mark.anyio

TASK = TaskId(b"\x77" * 32)


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    """The address at which `app` is served."""
    with serving.listen("127.0.0.1", 0) as sock:
        async with anyio.create_task_group() as tasks:
            await tasks.start(serving.serve, app, sock)
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
            tasks.cancel_scope.cancel()


@pytest.fixture
async def client(office: Office) -> AsyncIterator[SchedulerClient]:
    wallet = office.wallet(0)
    async with (
        served(office.app) as url,
        SchedulerClient(url, wallet=wallet.address, sign=wallet.sign_hash) as client,
    ):
        yield client


def answering(office: Office, status: int, body: bytes = b"") -> FastAPI:
    """A server that says the same to whatever it is asked."""
    app = FastAPI()

    @app.get("/{path:path}")
    @app.post("/{path:path}")
    async def same(path: str) -> Response:
        return Response(body, status_code=status)

    return app


def client_of(office: Office, url: str) -> SchedulerClient:
    wallet = office.wallet(0)
    return SchedulerClient(url, wallet=wallet.address, sign=wallet.sign_hash)


async def test_a_worker_introduces_itself_and_gets_work(
    office: Office, client: SchedulerClient
):
    config = await client.config()
    assert config.worker_pool_address == office.chain.workerpool
    assert config.result_repository_url == "http://127.0.0.1:1"
    chain = await client.chain_config(client.url)
    assert isinstance(chain, ChainConfig)
    assert chain.chain_id == office.hub.domain.chain_id
    assert await client.version()
    await client.register(WorkerModel(name="me", cpu_nb=2))
    assert await client.ping()
    task = office.buy()
    office.open(task)
    offer = await client.demand(5, wait=5)
    assert offer is not None
    permission = offer.workerpool_authorization
    assert (permission.chain_task_id, offer.from_block) == (task, 2)
    assert permission.signed_by() == office.chain.scheduler.address
    assert await client.demand(5, wait=0.01) is None
    feed = await client.news(0, of="", wait=5)
    assert [news.authorization for news in feed.news] == [permission]
    assert (await client.news(feed.next, of=feed.of, wait=0.01)).news == ()
    assert await client.tell(task, StatusUpdate(status="STARTED")) == "PLEASE_DOWNLOAD_APP"
    with pytest.raises(NotYet):
        await client.tell(task, StatusUpdate(status="RESULT_UPLOADING"))
    with pytest.raises(Refused, match="400"):
        await client.tell(task, StatusUpdate(status="WORKER_LOST"))


async def test_it_has_to_register_first(client: SchedulerClient):
    with pytest.raises(NotRegistered):
        await client.demand(5, wait=5)


async def test_everything_at_once_after_the_tokens_became_void(
    office: Office, client: SchedulerClient
):
    """The challenge is answered once: nobody else is refused meanwhile."""
    await client.register(WorkerModel(name="me"))
    desk = office.app.state.desk
    key = Tokens(b"n" * 32, pool=office.chain.workerpool)
    object.__setattr__(desk, "tokens", key)
    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(client.ping)
    assert office.pool.roster.alive(30) == [office.wallet(0).address]


@pytest.mark.parametrize("hours", [48, -48], ids=["the clock went back", "the clock went on"])
async def test_a_clock_that_jumps_costs_one_login(
    office: Office, client: SchedulerClient, monkeypatch: pytest.MonkeyPatch, hours: int
):
    """The token was given at another time than it is now: of the future, or too old."""
    with monkeypatch.context() as before:
        before.setattr("tallystick.wire.auth.time.time", lambda: then + hours * 3600)
        then, logins = time.time_ns() / 1e9, 0
        client._token = office.app.state.desk.tokens.issue(office.wallet(0).address)
    login = client._login

    async def counted() -> str:
        nonlocal logins
        logins += 1
        return await login()

    monkeypatch.setattr(client, "_login", counted)
    for _ in range(3):
        await client.ping()
    assert logins == 1


async def test_a_wallet_whose_signature_is_not_believed(office: Office):
    wallet, other = office.wallet(0), office.wallet(1)
    async with (
        served(office.app) as url,
        SchedulerClient(url, wallet=wallet.address, sign=other.sign_hash) as client,
    ):
        with pytest.raises(Unwelcome, match="was signed by"):
            await client.ping()


async def test_a_token_that_is_never_accepted(office: Office):
    async with served(answering(office, 401)) as url, client_of(office, url) as client:
        client._token = "x"
        with pytest.raises(Unwelcome):
            await client.ping()


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408])
async def test_a_scheduler_that_is_not_ready(office: Office, status: int):
    async with served(answering(office, status)) as url, client_of(office, url) as client:
        with pytest.raises(Unavailable, match=str(status)):
            await client.ping()


@pytest.mark.parametrize("status", [404, 405, 302, 413])
async def test_what_answers_is_no_scheduler(office: Office, status: int):
    async with served(answering(office, status)) as url, client_of(office, url) as client:
        with pytest.raises(Refused, match=str(status)):
            await client.config()


@pytest.mark.parametrize("body", [b"<html>", b"{}", b"[]", b"\xff", b'{"news": 1}'])
async def test_an_answer_that_cannot_be_read(office: Office, body: bytes):
    async with served(answering(office, 200, body)) as url, client_of(office, url) as client:
        for question in (client.config(), client.chain_config(url)):
            with pytest.raises(Unavailable, match="does not speak as a scheduler"):
                await question
        client._token = "x"
        for asked in (client.demand(1, wait=0), client.news(0, of="", wait=0)):
            with pytest.raises(Unavailable):
                await asked


@pytest.mark.parametrize("token", ["é", "a\nb", "\x00"])
async def test_a_login_that_ends_with_no_token(office: Office, token: str):
    body = token.encode()
    async with served(answering(office, 200, body)) as url, client_of(office, url) as client:
        with pytest.raises(Unavailable):
            await client.ping()


async def test_nobody_listens(office: Office):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with client_of(office, f"http://127.0.0.1:{port}") as client:
        with pytest.raises(Unavailable, match="did not answer"):
            await client.ping()
        with pytest.raises(Unavailable, match="did not answer"):
            await client.chain_config("http://exa mple\0")


async def test_a_scheduler_that_hangs_up_without_a_word(office: Office):
    async def hang_up(stream: anyio.abc.SocketStream) -> None:
        await stream.aclose()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, hang_up)
        async with client_of(office, f"http://127.0.0.1:{port}") as client:
            with pytest.raises(Unavailable, match="did not answer"):
                await client.ping()
        tasks.cancel_scope.cancel()
