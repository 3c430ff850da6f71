"""The scheduler, the node or the disk is away for a while: the worker says so and waits."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest
from anyio.abc import SocketStream
from market_lab import Lab, market_lab, only
from own_worker import OwnWorker, until, usual
from test_stopping import THREE, facts

from tallystick.devnet.packages import PocoPackages

pytestmark = [pytest.mark.anyio, pytest.mark.long]


@pytest.fixture
async def lab(poco_packages: PocoPackages, executor: str, tmp_path: Path) -> AsyncIterator[Lab]:
    options: dict[str, Any] = {"workers": 3, "executor": executor, "alive": 0}
    async with market_lab(tmp_path, children=only(), **options) as lab:
        yield lab


@dataclass
class Line:
    """A connection to a service that can be cut."""

    port: int
    own: int = 0
    whole: bool = True
    streams: set[SocketStream] = field(default_factory=set)
    calls: int = 0
    """How often it was connected to."""

    async def carry(self, client: SocketStream) -> None:
        self.calls += 1
        async with client:
            if not self.whole:
                return
            async with await anyio.connect_tcp("127.0.0.1", self.port) as server:
                if not self.whole:
                    return  # cut meanwhile
                self.streams |= {client, server}
                async with anyio.create_task_group() as both:
                    both.start_soon(_pump, client, server)
                    await _pump(server, client)
                    both.cancel_scope.cancel()
                self.streams -= {client, server}

    async def cut(self) -> None:
        self.whole = False
        for stream in list(self.streams):
            await anyio.aclose_forcefully(stream)


async def _pump(source: SocketStream, target: SocketStream) -> None:
    try:
        async for chunk in source:
            await target.send(chunk)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        pass
    await anyio.aclose_forcefully(target)


@asynccontextmanager
async def line_to(url: str) -> AsyncIterator[Line]:
    line = Line(urlsplit(url).port or 0)
    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        line.own = listener.extra(anyio.abc.SocketAttribute.local_port)
        tasks.start_soon(listener.serve, line.carry)
        yield line
        tasks.cancel_scope.cancel()


def troubles(worker: OwnWorker) -> Counter[str]:
    """What the worker complained about, and how often it said each."""
    lines = (line for line in worker.said().splitlines() if "Trying again" in line)
    return Counter(re.sub(r"^\S+ \S+ ", "", line) for line in lines)


BOTH = ("Assigned", "Began compute", "Computed")
STAGES = {
    "contribute": (*BOTH, "Contributed", "Revealed", "UploadRequested"),
    "finish": (*BOTH, "Published", "Contributed", "Completed"),
}
"""Moments of a life, by the call with which the worker votes."""


async def outage(worker: OwnWorker, *lines: Line) -> None:
    """Nothing gets through until the worker has tried several times, and said so once."""
    before = troubles(worker)
    for line in lines:
        await line.cut()
    enough = [line.calls + 4 for line in lines]
    await until(
        lambda: all(line.calls >= calls for line, calls in zip(lines, enough, strict=True)),
        "the worker trying again",
    )
    said = troubles(worker) - before
    for line in lines:
        line.whole = True
    assert set(said.values()) <= {1}, "each is said once"


@pytest.mark.parametrize("call", STAGES)
async def test_a_network_that_is_cut_in_each_stage_is_waited_for(lab: Lab, call: str):
    async with line_to(lab.market.scheduler_url) as pool, line_to(lab.market.rpc_url) as node:
        places = {
            "scheduler_url": f'"http://127.0.0.1:{pool.own}"',
            "rpc_urls": f'["http://127.0.0.1:{node.own}"]',
            "ws_url": f'"ws://127.0.0.1:{node.own}"',
            "contribute_and_finalize": str(call == "finish").lower(),
        }
        async with usual(lab, **places) as worker:
            await lab.workers_are_back(1)
            bought = await lab.buy("digits")
            (task,) = bought.tasks
            for moment in STAGES[call]:
                await worker.until(task, moment)
                await outage(worker, pool, node)
            ending = await lab.see(bought)
            assert ending.paid
            assert worker.process is not None
            assert worker.process.returncode is None
    assert troubles(worker)
    assert len(worker.signed(task, call)) == 1


async def test_a_vote_is_revealed_though_the_scheduler_does_not_answer_at_the_start(lab: Lab):
    async with line_to(lab.market.scheduler_url) as pool:
        own = f'"http://127.0.0.1:{pool.own}"'
        async with usual(lab, scheduler_url=own) as first:
            await lab.workers_are_back(1)
            bought = await lab.buy("corpus", "generator", trust=THREE)
            (task,) = bought.tasks
            await lab.until(task, lambda story: facts(story, "Contributed") == 1)
            await first.end(signal.SIGKILL)
            await pool.cut()
            async with usual(lab, "worker-2"), usual(lab, "worker-3"):
                await lab.until(task, lambda story: facts(story, "ConsensusReached") == 1)
                await first.start()
                await lab.until(task, lambda story: facts(story, "Revealed") == 3)
                assert not pool.whole
                pool.whole = True
                ending = await lab.see(bought)
    assert ending.paid
    assert lab.gains(ending)["worker-1"] > 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with little room."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system takes root")
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue
    return filler


async def test_a_worker_whose_journal_has_no_room_waits_and_reveals_then(
    lab: Lab, small_disk: Path, tmp_path: Path
):
    images = f'"{tmp_path / "images"}"'
    places = {"base_dir": f'"{small_disk}"', "image_cache": images, "min_free_disk": "1"}
    async with usual(lab, **places) as first:
        await lab.workers_are_back(1)
        bought = await lab.buy("corpus", "generator", trust=THREE)
        (task,) = bought.tasks
        await lab.until(task, lambda story: facts(story, "Contributed") == 1)
        filler = fill(small_disk)
        async with usual(lab, "worker-2"), usual(lab, "worker-3"):
            story = await lab.until(task, lambda story: facts(story, "Revealed") == 2)
            assert facts(story, "Revealed") == 2, "what cannot be written down is not done"
            await first.will_say("is its disk full?")
            filler.unlink()
            ending = await lab.see(bought)
        assert ending.paid
        assert lab.gains(ending)["worker-1"] > 0
        assert first.process is not None
        assert first.process.returncode is None
