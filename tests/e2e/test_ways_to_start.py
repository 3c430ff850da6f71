"""A worker needs no terminal and no particular host name, and uses the node it is told to."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import Process
from market_lab import Lab, market_lab, only
from own_worker import USUAL, OwnWorker
from test_outages import Line, line_to

from tallystick.devnet.packages import PocoPackages
from tallystick.devnet.services import Plan
from tallystick.devnet.supervise import Service

pytestmark = [pytest.mark.anyio, pytest.mark.long]

OVERRIDE = "IEXEC_WORKER_OVERRIDE_BLOCKCHAIN_NODE_ADDRESS"


@pytest.fixture(scope="module")
async def lines() -> AsyncIterator[tuple[Line, Line]]:
    """One line to the node that the pool names, one to the node that an operator names."""
    async with line_to("http://127.0.0.1:1") as pools, line_to("http://127.0.0.1:1") as own:
        yield pools, own


@pytest.fixture(scope="module")
async def lab(
    lines: tuple[Line, Line],
    poco_packages: PocoPackages,
    executor: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Lab]:
    """A market whose worker waits to be started, and knows no node by its settings."""

    def children(plan: Plan, console: Any, memory: Any) -> list[Service]:
        chosen = only()(plan, console, memory)
        told = f'worker_rpc_url = "http://127.0.0.1:{lines[0].own}"\n'
        scheduler, worker = plan.places.config("scheduler"), plan.places.config("worker-1")
        scheduler.write_text(told + scheduler.read_text())
        kept = [
            line
            for line in worker.read_text().splitlines()
            if line.partition(" =")[0] not in ("rpc_urls", "ws_url")
        ]
        worker.write_text("\n".join(kept) + "\n")
        for line in lines:
            line.port = plan.ports.chain
        return chosen

    options: dict[str, Any] = {"workers": 1, "executor": executor, "alive": 0}
    folder = tmp_path_factory.mktemp("market")
    async with market_lab(folder, children=children, **options) as lab:
        yield lab


@asynccontextmanager
async def started(lab: Lab, *before: str, **more: str) -> AsyncIterator[Process]:
    """A worker of a session of its own: no terminal, no input, and a pipe for what it says."""
    command: Sequence[str] = (*before, sys.executable, *USUAL, str(OwnWorker(lab).config))
    process = await anyio.open_process(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | more,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def paid(lab: Lab) -> None:
    assert (await lab.see(await lab.buy("digits"))).paid


async def stopped(process: Process) -> str:
    """All it said, once it has ended as told."""
    process.terminate()
    said = b""
    with anyio.fail_after(30):
        assert process.stdout is not None
        async for chunk in process.stdout:
            said += chunk
        assert await process.wait() == 0
    return said.decode()


async def test_without_a_terminal(lab: Lab):
    async with started(lab) as process:
        await lab.workers_are_back(1)
        assert process.returncode is None
        said = await stopped(process)
    assert "You worker is all set" in said
    assert "\x1b" not in said, "nothing is coloured where nobody looks"


async def test_under_a_host_name_that_nobody_knows(lab: Lab):
    """A container's may be anything."""
    if os.geteuid() != 0:
        pytest.skip("another host name takes root")
    renamed = 'hostname nobody.knows.invalid && test "$(hostname)" = nobody.knows.invalid'
    shell = ("unshare", "--uts", "sh", "-c", f'{renamed} && exec "$@"', "sh")
    async with started(lab, *shell) as process:
        await lab.workers_are_back(1)
        await paid(lab)
        known = (await lab.http.get(f"{lab.market.scheduler_url}/workers")).json()
        assert [each["name"] for each in known] == ["worker-1"], "as its settings name it"
        await stopped(process)


async def test_the_node_is_the_pools_unless_the_operator_names_another(
    lab: Lab, lines: tuple[Line, Line]
):
    pools, own = lines
    pools.calls = own.calls = 0
    async with started(lab, **{OVERRIDE: ""}) as process:
        await lab.workers_are_back(1)
        await paid(lab)
        await stopped(process)
    assert pools.calls > 0
    assert own.calls == 0
    pools.calls = 0
    async with started(lab, **{OVERRIDE: f"http://127.0.0.1:{own.own}"}) as process:
        await lab.workers_are_back(1)
        await paid(lab)
        await stopped(process)
    assert own.calls > 0
    assert pools.calls == 0, "the pool's node is not asked at all"
