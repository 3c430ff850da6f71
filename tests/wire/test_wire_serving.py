"""How services are served: by TLS with a certificate that is renewed, to slow callers not for
ever, and to others than this machine not without a word."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from fastapi import FastAPI, Request, Response

from tallystick.results.config import ResultsConfig
from tallystick.scheduler.config import SchedulerConfig
from tallystick.wire import serving
from tallystick.wire.limits import Limited, Limits
from tallystick.wire.proxies import BadNetwork, networks
from tallystick.wire.quick import Quick
from tallystick.wire.rates import Allowance
from tallystick.wire.slow import Clocked, Impatient
from tallystick.wire.tls import BadCertificate, Certificate

pytestmark = pytest.mark.anyio

needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is missing")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=[Quick, Impatient])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[Clocked]:
    """Every way in which requests are read."""
    monkeypatch.setattr(serving, "protocol", lambda: request.param)
    found: type[Clocked] = request.param
    return found


def certify(folder: Path, name: str) -> Certificate:
    """A certificate of this machine that says `name`."""
    chain, key = folder / f"{name}.pem", folder / f"{name}.key"
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(chain)]
    subprocess.run([*words.split(), *subject, *files], check=True, capture_output=True)
    return Certificate(chain, key)


def app(limits: Limits | None = None) -> FastAPI:
    found = FastAPI()
    found.get("/hello")(hello)
    found.post("/hello")(hello)
    found.post("/echo")(echo)
    found.get("/much")(much)
    if limits:
        found.add_middleware(Limited, limits=limits)
    return found


async def hello() -> str:
    return "hello"


async def echo(request: Request) -> Response:
    return Response(await request.body())


async def much() -> str:
    return "x" * (64 << 20)


@asynccontextmanager
async def served(
    service: FastAPI, certificate: Certificate | None = None
) -> AsyncIterator[int]:
    with serving.listen("127.0.0.1", 0) as sock:
        async with anyio.create_task_group() as tasks:

            async def run(*, task_status: Any) -> None:
                await serving.serve(
                    service, sock, certificate=certificate, task_status=task_status
                )

            await tasks.start(run)
            yield sock.getsockname()[1]
            tasks.cancel_scope.cancel()


async def shown(port: int) -> bytes:
    """The certificate that a new connection is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    stream = await anyio.connect_tcp("127.0.0.1", port, ssl_context=context, tls_hostname="x")
    async with stream:
        found = stream.extra(anyio.streams.tls.TLSAttribute.peer_certificate_binary)
        assert found
        return found


def der(certificate: Certificate) -> bytes:
    return ssl.PEM_cert_to_DER_cert(certificate.chain.read_text())


@needs_openssl
async def test_a_service_by_tls_and_a_certificate_that_is_renewed(tmp_path: Path):
    first, second = certify(tmp_path, "first"), certify(tmp_path, "second")
    used = Certificate(tmp_path / "used.pem", tmp_path / "used.key")
    for each, place in ((first.chain, used.chain), (first.key, used.key)):
        shutil.copy(each, place)
    async with served(app(), used) as port:
        trusting = ssl.create_default_context(cafile=str(used.chain))
        async with httpx2.AsyncClient(verify=trusting, trust_env=False) as http:
            assert (await http.get(f"https://127.0.0.1:{port}/hello")).json() == "hello"
            with pytest.raises(httpx2.HTTPError):
                await http.get(f"http://127.0.0.1:{port}/hello")
        assert await shown(port) == der(first)
        shutil.copy(second.chain, used.chain)  # the key does not fit yet
        os.kill(os.getpid(), signal.SIGHUP)
        await anyio.wait_all_tasks_blocked()
        assert await shown(port) == der(first), "a bad certificate changes nothing"
        shutil.copy(second.key, used.key)
        with anyio.fail_after(60):
            while await shown(port) != der(second):
                os.kill(os.getpid(), signal.SIGHUP)
                await anyio.wait_all_tasks_blocked()


@needs_openssl
def test_certificates_that_cannot_be_used(tmp_path: Path):
    first, second = certify(tmp_path, "first"), certify(tmp_path, "second")
    for chain, key in (
        (first.chain, second.key),
        (first.key, first.key),
        (tmp_path / "nowhere", first.key),
    ):
        with pytest.raises(BadCertificate, match="belong together"):
            Certificate(chain, key).context()
    with pytest.raises(BadCertificate, match="tls_key"):
        Certificate.named(first.chain, None)
    assert Certificate.named(None, None) is None


@pytest.mark.parametrize("head", [b"", b"GET /hello HTTP/1.1\r\nHost: x\r\nX-Slow: "])
async def test_who_says_nothing_is_hung_up_on(
    head: bytes, reader: type[Clocked], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reader, "head_seconds", 0.2)
    async with served(app()) as port:
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            if head:
                await stream.send(head)
            with (
                anyio.fail_after(60),
                pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)),
            ):
                await stream.receive()
        monkeypatch.setattr(reader, "head_seconds", 60.0)
        async with httpx2.AsyncClient(trust_env=False) as http:
            assert (await http.get(f"http://127.0.0.1:{port}/hello")).status_code == 200


async def test_only_a_head_that_has_begun_is_waited_for(
    reader: type[Clocked], monkeypatch: pytest.MonkeyPatch
):
    """Silence between two requests is what a connection is kept for."""
    calls = list[Clocked]()
    made = reader.connection_made

    def note(self: Clocked, transport: Any) -> None:
        made(self, transport)
        calls.append(self)

    monkeypatch.setattr(reader, "connection_made", note)
    ask = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
    async with served(app()) as port, await anyio.connect_tcp("127.0.0.1", port) as stream:
        for _ in range(2):
            await stream.send(ask[:9])
            with anyio.fail_after(60):
                while not (calls and calls[0]._head):
                    await anyio.wait_all_tasks_blocked()
                await stream.send(ask[9:])
                assert b"200 OK" in await stream.receive()
            assert calls[0]._head is None


async def test_who_never_reads_its_answer_is_hung_up_on(
    reader: type[Clocked], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reader, "read_seconds", 0.2)
    gone = anyio.Event()
    lost = reader.connection_lost

    def note(self: Clocked, exc: Exception | None) -> None:
        lost(self, exc)
        gone.set()

    monkeypatch.setattr(reader, "connection_lost", note)
    async with served(app()) as port:
        with socket.create_connection(("127.0.0.1", port)) as caller:
            caller.sendall(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n")
            with anyio.fail_after(60):
                await gone.wait()


@pytest.mark.usefixtures("reader")
async def test_a_body_that_does_not_come():
    limits = Limits(body=1_000, patience=0.2)
    head = b"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nab"
    async with (
        served(app(limits)) as port,
        await anyio.connect_tcp("127.0.0.1", port) as caller,
    ):
        await caller.send(head)
        with anyio.fail_after(60):
            answer = await caller.receive()
    assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.usefixtures("reader")
async def test_what_is_no_http_gets_json_too():
    async with served(app()) as port:
        for nonsense in (
            b"\x16\x03\x01\x02\x00\r\n\r\n",
            b"GET / HTTP/1.1\r\nX: " + b"y" * 99_999,
            b"GET /\xff HTTP/1.1\r\n\r\n",
        ):
            answer = await told(port, nonsense)
            assert answer.startswith(b"HTTP/1.1 400 Bad Request")
            assert b'"message":"This is no request' in answer


async def told(port: int, *pieces: bytes) -> bytes:
    """What comes until the service hangs up."""
    answer = b""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        gone = (anyio.EndOfStream, anyio.BrokenResourceError)
        with anyio.fail_after(60), suppress(*gone):
            for piece in pieces:
                await stream.send(piece)
            while True:
                answer += await stream.receive()
    return answer


TRAILERS = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("after", [b"X: " + b"y" * 999_999, b"X: y\r\n" * 100_000])
async def test_what_follows_a_body_has_an_end(after: bytes):
    """A trailer may be as long as a head, and no longer: it is kept in memory until then."""
    async with served(app()) as port:
        answer = await told(port, TRAILERS, after)
    assert b" 200 OK" not in answer


@pytest.mark.usefixtures("reader")
async def test_a_body_in_many_pieces_is_whole():
    """Of a size that would be too long for a head."""

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(3_000):
            yield b"%099d\n" % number

    async with served(app()) as port, httpx2.AsyncClient(trust_env=False) as http:
        answer = await http.post(f"http://127.0.0.1:{port}/echo", content=pieces())
    assert answer.content == b"".join([b"%099d\n" % number for number in range(3_000)])


@pytest.mark.usefixtures("reader")
async def test_an_offer_of_another_protocol_is_passed_over():
    """Java's own client makes it with its first request, whatever that is."""
    ask = b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings, close\r\n"
    ask += b"Upgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\nContent-Length: 5\r\n\r\nhello"
    async with served(app()) as port:
        answer = await told(port, ask)
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.endswith(b"hello")


async def test_silence_cannot_be_dressed_up(monkeypatch: pytest.MonkeyPatch):
    """Empty lines between two requests keep nobody connected."""
    monkeypatch.setattr(Quick, "head_seconds", 0.2)
    monkeypatch.setattr(serving, "protocol", lambda: Quick)
    async with served(app()) as port, await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
        with anyio.fail_after(60):
            assert b"200 OK" in await stream.receive()
            await stream.send(b"\r\n")
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await stream.receive()


def test_without_the_quick_parser_there_is_the_other(monkeypatch: pytest.MonkeyPatch):
    assert serving.protocol() is Quick
    monkeypatch.setitem(sys.modules, "tallystick.wire.quick", None)
    assert serving.protocol() is Impatient


@pytest.mark.parametrize("kind", [SchedulerConfig, ResultsConfig])
def test_every_service_keeps_to_this_machine_unless_told(kind: Any):
    hosts = [field.default for field in fields(kind) if field.name == "host"]
    assert len(hosts) == 1
    assert serving.is_private(hosts[0])


def test_what_others_can_reach_is_warned_of(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        serving.listen("127.0.0.1", 0).close()
        serving.listen("0.0.0.0", 0, guarded=True).close()
        assert caplog.messages == []
        serving.listen("0.0.0.0", 0).close()
    assert "tls_cert" in caplog.text
    assert serving.is_private("::1")
    assert not serving.is_private("::")
    assert not serving.is_private("pool.example")


def test_trusted_proxies_are_networks():
    assert str(networks(["10.0.0.0/8", "::1"])[1]) == "::1/128"
    for wrong in ("proxy.example", "10.0.0.1/8", ""):
        with pytest.raises(BadNetwork, match="trusted proxy"):
            networks([wrong])


def test_an_allowance_fills_up_again():
    now = 0.0
    allowance = Allowance(2.0, 3, lambda: now)
    assert [allowance.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert allowance.take("b") == 0, "each by itself"
    now = 0.5
    assert [allowance.take("a") for _ in range(2)] == [0, 0.5]
    now = 100.0
    assert [allowance.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    unlimited = Allowance(0, 1, lambda: now)
    assert {unlimited.take("a") for _ in range(99)} == {0}


async def test_a_head_does_not_wait_for_a_body_that_is_late():
    """Head and body leave together; but pages that are told news begin with a head alone."""
    begun, goes_on = anyio.Event(), anyio.Event()

    async def slowly(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        begun.set()
        await goes_on.wait()
        await send({"type": "http.response.body", "body": b"news", "more_body": True})
        await send({"type": "http.response.body", "body": b"!"})

    service: Any = slowly
    ask = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    async with served(service) as port, await anyio.connect_tcp("127.0.0.1", port) as caller:
        with anyio.fail_after(60):
            await caller.send(ask)
            await begun.wait()
            head = await caller.receive()
            assert head.startswith(b"HTTP/1.1 200 OK")
            assert b"news" not in head
            goes_on.set()
            rest = b""
            while not rest.endswith(b"0\r\n\r\n"):
                rest += await caller.receive()
    assert rest == b"4\r\nnews\r\n1\r\n!\r\n0\r\n\r\n"


async def test_a_short_answer_leaves_at_once(monkeypatch: pytest.MonkeyPatch):
    written, made = list[bytes](), Quick.connection_made

    def note(self: Quick, transport: Any) -> None:
        made(self, transport)
        monkeypatch.setattr(self, "transport", Noting(transport))

    class Noting:
        def __init__(self, transport: Any) -> None:
            self._transport = transport

        def __getattr__(self, name: str) -> Any:
            return getattr(self._transport, name)

        def write(self, data: bytes) -> None:
            written.append(data)
            self._transport.write(data)

    monkeypatch.setattr(Quick, "connection_made", note)
    async with served(app()) as port, httpx2.AsyncClient(trust_env=False) as http:
        assert (await http.get(f"http://127.0.0.1:{port}/hello")).json() == "hello"
    assert len(written) == 1
