"""The store as the process that `tally results start` makes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from results_lab import Market, Result, result, wallet

from tallystick.engine.errors import Unavailable
from tallystick.engine.settings import BadSettings, load
from tallystick.results.config import ResultsConfig
from tallystick.wire.results import ResultsClient
from tallystick.wire.serving import listen

pytestmark = pytest.mark.anyio


@pytest.fixture
def port() -> int:
    with listen("127.0.0.1", 0) as sock:
        found: int = sock.getsockname()[1]
    return found


@pytest.fixture
def settings(tmp_path: Path, shared_chain: Any, port: int) -> Path:
    path = tmp_path / "results.toml"
    path.write_text(
        f'data_dir = "{tmp_path}/data"\nrpc_urls = ["{shared_chain.url}"]\n'
        f'hub = "{shared_chain.hub}"\nport = {port}\n'
    )
    return path


def start(settings: Path) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "tallystick",
        "results",
        "start",
        "--config",
        str(settings),
    ]
    path = os.pathsep.join(sys.path)
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path})


@pytest.fixture
def process(settings: Path) -> Iterator[subprocess.Popen[bytes]]:
    running = start(settings)
    yield running
    running.kill()
    running.wait()


async def ready(client: ResultsClient) -> None:
    with anyio.fail_after(20):
        while True:
            try:
                await client._ask("GET", "/version")
                return
            except Unavailable:
                await anyio.sleep(0.05)


async def test_a_large_result_survives_kill_9(
    process: subprocess.Popen[bytes], settings: Path, port: int, market: Market, worker: Any,
    tmp_path: Path,
) -> None:  # fmt: skip
    found: Result = result(tmp_path / "job", os.urandom(4 << 20).hex())
    task = market.revealed(found.digest, worker)
    async with ResultsClient(f"http://127.0.0.1:{port}") as client:
        await ready(client)
        place = await client.deliver(
            market.authorization(task, worker), wallet(worker).sign_message, found.archive
        )
        process.kill()
        await anyio.to_thread.run_sync(process.wait)
        again = start(settings)
        try:
            await ready(client)
            assert await client.location(task) == place
            answer = await client._http.get(place)
            assert answer.content == found.archive.read_bytes()
            again.send_signal(signal.SIGTERM)
            assert await anyio.to_thread.run_sync(again.wait) == 0
        finally:
            again.kill()
            again.wait()
    assert (tmp_path / "data" / "token.key").stat().st_mode & 0o777 == 0o600


async def test_every_mistake_in_the_settings_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text('data_dir = "d"\nhub = "0x12"\nport = "x"\n')
    with pytest.raises(BadSettings) as told:
        load(path, ResultsConfig)
    assert all(word in str(told.value) for word in ("rpc_urls", "hub", "port"))
