"""A worker in a process of its own, to be killed while its job runs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zlib
from pathlib import Path

from tallystick.execution.executor import Executor, Job

_PROGRAM = """
import sys, anyio
from pathlib import Path
from tallystick.execution.choose import choose
from tallystick.execution.executor import ImageRef, Job, Limits

async def main(runtime, cache, image, name, folder, script):
    executor = await choose(runtime, Path(cache))
    limits = Limits(time=200, memory=128 << 20, cpus=1.0, pids=64, disk=8 << 20)
    await executor.run(Job(name=name, image=ImageRef.parse(image), limits=limits,
        env={"IEXEC_OUT": "/iexec_out"}, args=("sh", "-c", script),
        input_dir=Path(folder, "in"), output_dir=Path(folder, "out")))

anyio.run(main, *sys.argv[1:])
"""


def commands() -> list[str]:
    """What runs on this machine."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return lines


def sleep_of(work: Job) -> str:
    """Seconds by which the process of this very job is recognised."""
    return f"77{zlib.crc32(work.name.encode())}"


def worker_with_a_job(
    executor: Executor, work: Job, script: str | None = None
) -> subprocess.Popen[bytes]:
    """A process that runs a job of that name, once the job sleeps for its own seconds."""
    cache, folder = executor.jobs.parent, work.input_dir.parent
    mark = sleep_of(work)
    script = script or f"echo started; sleep {mark}"
    words = [executor.name, str(cache), str(work.image), work.name, str(folder), script]
    env = dict(os.environ)
    if executor.name == "docker":
        env["DOCKER_HOST"] = executor.api.host
    worker = subprocess.Popen([sys.executable, "-c", _PROGRAM, *words], env=env)
    deadline = time.monotonic() + 60
    while not [c for c in commands() if c.startswith(f"sleep {mark}")]:
        assert worker.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return worker
