"""Wallets of real workers: shared by two, drained and filled again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from market_lab import TINY, Lab, market_lab, more_workers, only

from tallystick.chain.records import TaskState
from tallystick.devnet.packages import PocoPackages
from tallystick.devnet.places import Places, write_settings

pytestmark = [pytest.mark.anyio, pytest.mark.long]


def twin_settings(lab: Lab, folder: Path, **changes: Any) -> Path:
    """The settings of worker-1 for another process: another folder, the same wallet."""
    known = tomllib.loads(Places(lab.market.data).config("worker-1").read_text())
    path = folder / "twin.toml"
    write_settings(path, known | {"name": "twin", "base_dir": str(folder)} | changes)
    return path


@contextmanager
def worker_process(config: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    command = ["worker", "start", "--config", str(config), *options]
    with config.with_suffix(".log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tallystick", *command], stderr=log, stdout=log
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


async def ended(process: subprocess.Popen[bytes], within: float = 100) -> int:
    with anyio.fail_after(within):
        while process.poll() is None:  # noqa: ASYNC110 (another process)
            await anyio.sleep(0.1)
    return process.returncode


async def said(path: Path, words: str, within: float = 100) -> str:
    """The log once it has these words."""
    with anyio.fail_after(within):
        while True:
            text = path.read_text(errors="replace")  # noqa: ASYNC240 (a small file)
            if words in text:
                return text
            await anyio.sleep(0.1)


async def test_two_workers_cannot_have_one_wallet(
    poco_packages: PocoPackages, executor: str, tmp_path: Path
):
    async with market_lab(tmp_path, workers=1, executor=executor) as lab:
        log = Places(lab.market.data).logs / "worker-1.log"
        # On this machine: the lock beside the keystore.
        same = twin_settings(lab, tmp_path)
        with worker_process(same) as twin:
            assert await ended(twin) not in (0, 70)
        text = same.with_suffix(".log").read_text()
        assert f"is in use by worker 'worker-1' (process {lab.pid('worker-1')})" in text
        # On another machine, with a copy of the keystore: the scheduler.
        copy = shutil.copy(Places(lab.market.data).wallet("worker-1"), tmp_path / "copy.json")
        other = twin_settings(lab, tmp_path, wallet=str(copy))
        with worker_process(other) as twin:
            assert await ended(twin) == 6
        refused = other.with_suffix(".log").read_text()
        assert "wallet already used by worker worker-1, last seen" in refused
        assert "Traceback" not in refused
        # What is killed is let in at once when it comes again; the operator may insist.
        lab.kill("worker-1")
        await lab.workers_are_back(1)
        bought = await lab.buy("digits")
        assert (await lab.see(bought)).paid
        with worker_process(other, "--takeover"):
            await said(other.with_suffix(".log"), "all set")
            await said(log, "is used by worker twin now")
            bought = await lab.buy("digits")
            story = await lab.until(bought.tasks[0], lambda s: bool(s["replicates"]))
            assert len(story["replicates"]) == 1
            assert (await lab.see(bought)).paid


async def test_a_wallet_that_is_drained_before_its_reveal_is_paid_all_the_same(
    poco_packages: PocoPackages, executor: str, tmp_path: Path
):
    """Drained when it has voted: it alarms, waits, and reveals as soon as it is refilled."""
    async with market_lab(tmp_path, workers=2, executor=executor, children=only(1)) as lab:
        rpc, me = lab.session.rpc, str(lab.market.accounts["worker-1"])
        log = Places(lab.market.data).logs / "worker-1.log"
        bought = await lab.buy("digits", trust=3)
        (task,) = bought.tasks
        await lab.until(task, lambda s: any(f["kind"] == "Contributed" for f in s["facts"]))
        before = await rpc.call("eth_getBalance", me, "latest")
        await rpc.call("anvil_setBalance", me, hex(1_000))
        async with more_workers(lab, 2):
            text = await said(log, "ALARM: Out of gas! please refill your wallet")
            assert "must be revealed until" in text
            pid = lab.pid("worker-1")
            await rpc.call("anvil_setBalance", me, before)
            ending = await lab.see(bought)
        assert ending.paid
        gains = lab.gains(ending)
        assert gains["worker-1"] == gains["worker-2"] > 0
        assert lab.pid("worker-1") == pid, "it never ended"
        assert log.read_text().count("ALARM") == 1


async def test_a_worker_alone_claims_its_stake_back(
    poco_packages: PocoPackages, executor: str, tmp_path: Path
):
    """The scheduler hangs for good after the vote, and the task is never ended."""
    async with market_lab(tmp_path, workers=1, executor=executor) as lab:
        before = await lab.stake("worker-1")
        bought = await lab.buy("digits", trust=100, category=TINY)
        (task,) = bought.tasks
        await lab.until(task, lambda s: any(f["kind"] == "Contributed" for f in s["facts"]))
        scheduler = lab.pid("scheduler")
        os.kill(scheduler, signal.SIGSTOP)
        try:
            assert (await lab.stake("worker-1"))[1] > 0, "the vote locked its stake"
            with anyio.fail_after(60):
                while await lab.stake("worker-1") != before:  # noqa: ASYNC110 (the chain)
                    await anyio.sleep(0.2)
            known = await lab.session.hub.task(task)
            assert known is not None
            assert known.state is TaskState.FAILED
        finally:
            os.kill(scheduler, signal.SIGCONT)
        log = (Places(lab.market.data).logs / "worker-1.log").read_text()
        assert "our stake is claimed back" in log
