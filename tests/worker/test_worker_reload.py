"""Policies that change while a worker runs."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import anyio
import pytest

from tallystick.engine.pulse import Pulse
from tallystick.worker.policing import PolicyFile
from tallystick.worker.policy import Policies
from tallystick.worker.reload import watch

pytestmark = pytest.mark.anyio


async def test_a_signal_and_a_change_are_both_noticed(tmp_path: Path, caplog, monkeypatch):
    monkeypatch.setattr("tallystick.worker.reload.LOOK", 0.05)
    path = tmp_path / "worker.toml"
    path.write_text("")
    file, pulse = PolicyFile(path, Policies()), Pulse()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch, file, pulse.beat)
        await anyio.wait_all_tasks_blocked()
        path.write_text("[policies]\nmin_price = 5\n")
        with anyio.fail_after(60):
            await pulse.next(0)
        assert file.held.min_price == 5
        # The same size and the same time: only the signal tells.
        now = path.stat()
        path.write_text("[policies]\nmin_price = 7\n")
        os.utime(path, ns=(now.st_atime_ns, now.st_mtime_ns))
        assert file.current.min_price == 5
        os.kill(os.getpid(), signal.SIGHUP)
        with anyio.fail_after(60):
            await pulse.next(1)
        assert file.held.min_price == 7
        path.write_text("[policies]\nmin_price = -7\n")
        os.kill(os.getpid(), signal.SIGHUP)
        with anyio.fail_after(60):
            while "the ones before hold" not in caplog.text:  # noqa: ASYNC110 (only a log tells)
                await anyio.sleep(0.01)
        assert (file.held.min_price, pulse.count) == (7, 2)
        tasks.cancel_scope.cancel()
