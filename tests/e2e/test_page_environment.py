"""The environment of the operators' page, and nothing else, joins a pool and earns."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio.abc import Process
from market_lab import Lab, market_lab, only

from tallystick.devnet.packages import PocoPackages
from tallystick.devnet.places import password_in

pytestmark = [pytest.mark.anyio, pytest.mark.long]

COMMAND = r"""
docker run -d --name "MY_WORKER_NAME" \
   --hostname "MY_WORKER_NAME" \
   --env "IEXEC_WORKER_NAME=MY_WORKER_NAME" \
   --env "IEXEC_CORE_HOST=public-pool.iex.ec" \
   --env "IEXEC_CORE_PORT=18090" \
   --env "IEXEC_WORKER_WALLET_PATH=/iexec-wallet/wallet.json" \
   --env "IEXEC_WORKER_WALLET_PASSWORD=MY_PASSWORD" \
   -v PATH_TO_MY_WALLET_FILE:/iexec-wallet/wallet.json \
   -v /tmp/iexec-worker:/tmp/iexec-worker \
   -v /var/run/docker.sock:/var/run/docker.sock \
   iexechub/iexec-worker:3.X.X
"""
"""As the page has it, but for the blank that it lacks before one backslash."""
NAMES = [word.partition("=")[0] for word in shlex.split(COMMAND) if word.startswith("IEXEC_")]


@pytest.fixture(scope="module")
async def lab(
    poco_packages: PocoPackages, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Lab]:
    """A market without a worker."""
    folder = tmp_path_factory.mktemp("market")
    async with market_lab(folder, workers=1, alive=0, children=only()) as lab:
        yield lab


def environment(lab: Lab, base: Path) -> Mapping[str, str]:
    """The page's variables with the values of this market, and what any container has: a path,
    a home, and a folder in the place of `/tmp/iexec-worker`, which belongs to the machine."""
    market = lab.market
    host, port = market.scheduler_url.removeprefix("http://").split(":")
    page = {
        "IEXEC_WORKER_NAME": "MY_WORKER_NAME",
        "IEXEC_CORE_HOST": host,
        "IEXEC_CORE_PORT": port,
        "IEXEC_WORKER_WALLET_PATH": str(market.keystores["worker-1"]),
        "IEXEC_WORKER_WALLET_PASSWORD": password_in(market.password_file),
    }
    assert list(page) == NAMES
    machine = {"PATH": os.environ["PATH"], "HOME": str(base.parent)}
    return {**page, **machine, "IEXEC_WORKER_BASE_DIR": str(base)}


@asynccontextmanager
async def started(
    command: list[str], env: Mapping[str, str], log: Path
) -> AsyncIterator[Process]:
    with log.open("w") as said:
        process = await anyio.open_process(
            [sys.executable, *command, "worker", "start"],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_the_pages_environment_joins_and_is_paid(lab: Lab, tmp_path: Path):
    known = [str(Path(__file__).with_name("well_known.py")), str(lab.market.hub)]
    known += [str(await lab.session.hub.rpc.call("eth_chainId")), str(lab.session.hub.token)]
    known[2] = str(int(known[2], 16))
    log = tmp_path / "log"
    env = environment(lab, tmp_path / "iexec-worker")
    async with started(known, env, log) as process:
        await lab.workers_are_back(1)
        listed = (await lab.http.get(f"{lab.market.scheduler_url}/workers")).json()
        assert [(each["name"], each["alive"]) for each in listed] == [("MY_WORKER_NAME", True)]
        ending = await lab.see(await lab.buy("digits"))
        assert ending.paid
        assert lab.gains(ending)["worker-1"] > 0
        assert process.returncode is None
        process.terminate()
        with anyio.fail_after(60):
            assert await process.wait() == 0
    assert "You worker is all set" in log.read_text()
    assert env["IEXEC_WORKER_WALLET_PASSWORD"] not in log.read_text()


async def test_a_hub_that_nobody_knows_gets_nothing_by_the_page_alone(lab: Lab, tmp_path: Path):
    """The page names no hub: one that only the pool names could keep the stake."""
    log = tmp_path / "log"
    env = environment(lab, tmp_path / "iexec-worker")
    async with started(["-m", "tallystick"], env, log) as process:
        with anyio.fail_after(120):
            assert await process.wait() == 2
    assert f"--trust-hub {lab.market.hub}" in log.read_text()
