"""The worker's last log lines, and what its processes use."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from tallystick.worker.logring import LogRing
from tallystick.worker.usage import usage

pytestmark = pytest.mark.anyio


@pytest.fixture
def ring() -> LogRing:
    return LogRing()


def logger(ring: LogRing) -> logging.Logger:
    own = logging.Logger("tallystick.test")
    own.addHandler(ring)
    return own


def test_only_the_newest_lines_are_kept_and_none_is_endless(ring: LogRing):
    log = logger(ring)
    for n in range(1_500):
        log.info("line %d", n)
    log.warning("x" * 10_000)
    lines = ring.last(10_000)
    assert len(lines) == 1_000
    assert lines[-2]["message"] == "line 1499"
    assert len(lines[-1]["message"]) == 2_000
    assert lines[-1]["level"] == "warning"
    assert ring.last(0) == []
    assert [each["message"][:9] for each in ring.last(2)] == ["line 1499", "xxxxxxxxx"]


async def test_who_follows_hears_old_lines_and_then_each_new_one(ring: LogRing):
    log, heard = logger(ring), list[str]()
    log.info("before")

    async def listen() -> None:
        async for line in ring.follow(1):
            heard.append(line["message"])

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            await anyio.wait_all_tasks_blocked()
            assert heard == ["before"]
            await to_thread.run_sync(log.info, "from a thread")
            log.info("after")
            await anyio.wait_all_tasks_blocked()
            assert heard == ["before", "from a thread", "after"]
            tasks.cancel_scope.cancel()


def test_a_process_and_its_children_are_counted(tmp_path: Path):
    task = tmp_path / ("0x" + "ab" * 32) / "output"
    task.mkdir(parents=True)
    (task / "big").write_bytes(os.urandom(1 << 20))
    child = subprocess.Popen(
        [sys.executable, "-c", "x = bytearray(30 << 20); input()"], stdin=subprocess.PIPE
    )
    try:
        while (told := usage(tmp_path))["jobs_memory"] < 30 << 20:
            assert child.poll() is None
        assert told["worker_memory"] > 10 << 20
        assert told["worker_cpu"] > 0
        assert told["jobs_disk"] >= 1 << 20
        assert told["machine_memory"] > told["machine_free_memory"] > 0
        assert told["free_disk"] > 0
    finally:
        child.communicate(b"\n")
    assert usage(tmp_path, pid=child.pid)["worker_memory"] == 0


def test_a_machine_without_proc_is_no_error(tmp_path: Path):
    told = usage(tmp_path, proc=tmp_path / "none")
    assert (told["worker_memory"], told["machine_load"]) == (0, None)
