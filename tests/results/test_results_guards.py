"""What stands before the result store: TLS, proxies that are believed, limits of requests."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from tls_lab import authority, needs_openssl

from tallystick.chain.hub import Hub
from tallystick.engine.settings import BadSettings, load
from tallystick.results.app import create_app
from tallystick.results.config import ResultsConfig
from tallystick.wire.serving import listen

pytestmark = pytest.mark.anyio

ONE, TWO, PROXY = "192.0.2.1", "192.0.2.2", "10.0.0.7"


@asynccontextmanager
async def asked(config: ResultsConfig, hub: Hub, caller: str) -> AsyncIterator[Any]:
    """The store, as somebody at `caller` sees it."""
    app = create_app(config, hub)

    def of(address: str = caller) -> httpx2.AsyncClient:
        transport = httpx2.ASGITransport(app, client=(address, 1))
        return httpx2.AsyncClient(transport=transport, base_url="http://store")

    yield of
    app.state.desk.store.close()


async def statuses(http: httpx2.AsyncClient, count: int, **headers: str) -> list[int]:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return [(await http.get("/version", headers=told)).status_code for _ in range(count)]


async def test_who_asks_too_often_waits_and_nobody_else(config: ResultsConfig, hub: Hub):
    few = replace(config, requests_per_address=0.001)  # in a burst of one
    async with asked(few, hub, ONE) as of, of() as one, of(TWO) as two, of("127.0.0.1") as us:
        assert await statuses(one, 2) == [200, 429]
        answer = await one.get("/version")
        assert int(answer.headers["retry-after"]) > 0
        assert await statuses(two, 1) == [200]
        assert await statuses(us, 3) == [200] * 3


async def test_a_proxy_that_was_named_tells_who_asks_and_others_do_not(
    config: ResultsConfig, hub: Hub
):
    few = replace(config, requests_per_address=0.001, trusted_proxies=("10.0.0.0/8",))
    async with asked(few, hub, PROXY) as of, of() as proxy, of(ONE) as stranger:
        for address in (ONE, TWO):
            assert await statuses(proxy, 2, x_forwarded_for=address) == [200, 429]
        assert await statuses(stranger, 1, x_forwarded_for="192.0.2.99") == [429]


def test_a_proxy_that_is_no_network_is_refused(tmp_path: Path):
    path = tmp_path / "bad.toml"
    path.write_text(
        f'data_dir = "d"\nhub = "0x{"00" * 20}"\nrpc_urls = ["http://127.0.0.1:1"]\n'
        'trusted_proxies = ["everybody"]\n'
    )
    with pytest.raises(BadSettings, match="a trusted proxy is an address"):
        load(path, ResultsConfig)


@needs_openssl
async def test_the_store_by_tls_as_a_process(tmp_path: Path, shared_chain: Any):
    ca = authority(tmp_path)
    shown = ca.issue("store")
    with listen("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
    path = tmp_path / "results.toml"
    path.write_text(
        f'data_dir = "{tmp_path}/data"\nrpc_urls = ["{shared_chain.url}"]\n'
        f'hub = "{shared_chain.hub}"\nport = {port}\n'
        f'tls_cert = "{shown.chain}"\ntls_key = "{shown.key}"\n'
    )
    command = [sys.executable, "-m", "tallystick", "results", "start", "--config", str(path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, env=environment)  # noqa: ASYNC220
    try:
        trusting = ssl.create_default_context(cafile=str(ca.certificate))
        async with httpx2.AsyncClient(verify=trusting, trust_env=False) as http:
            answer = await until_answered(http, f"https://127.0.0.1:{port}/version")
            assert answer.status_code == 200
            with pytest.raises(httpx2.HTTPError):
                await http.get(f"http://127.0.0.1:{port}/version")
        async with httpx2.AsyncClient(trust_env=False) as http:
            with pytest.raises(httpx2.ConnectError):
                await http.get(f"https://127.0.0.1:{port}/version")
    finally:
        process.kill()
        process.wait()


async def until_answered(http: httpx2.AsyncClient, url: str) -> httpx2.Response:
    with anyio.fail_after(60):
        while True:
            try:
                return await http.get(url)
            except httpx2.ConnectError:
                await anyio.sleep(0.05)
