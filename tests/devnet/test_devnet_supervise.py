"""Children are started in order, come back after a crash, and never outlive us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from tallystick.devnet.supervise import Service, ServiceFailed, Supervisor

pytestmark = pytest.mark.anyio

# Writes its pid when it is ready, and a line when it is asked to end.
CHILD = """
import os, signal, sys, time
name, folder = sys.argv[1:]
def end(*_):
    with open(folder + "/ends", "a") as f: f.write(name + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
with open(folder + "/starts", "a") as f: f.write(name + "\\n")
with open(folder + "/" + name + ".tmp", "w") as f: f.write(str(os.getpid()))
os.rename(folder + "/" + name + ".tmp", folder + "/" + name)
while True: time.sleep(60)
"""


def child(name: str, folder: Path, *, needs: tuple[str, ...] = ()) -> Service:
    async def ready() -> bool:
        return (folder / name).exists()

    async def forget() -> None:
        (folder / name).unlink(missing_ok=True)

    command = (sys.executable, "-I", "-S", "-c", CHILD, name, str(folder))
    return Service(name=name, command=command, needs=needs, ready=ready, prepare=forget)


@asynccontextmanager
async def running(services, folder, said=None):
    said = said if said is not None else []
    supervisor = Supervisor(services, logs=folder / "logs", say=said.append)
    async with anyio.create_task_group() as group:
        await group.start(supervisor.run)
        yield supervisor
        group.cancel_scope.cancel()


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def causes(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [cause for part in error.exceptions for cause in causes(part)]


async def test_children_start_after_what_they_need_and_stop_before_it(tmp_path):
    services = [
        child("worker", tmp_path, needs=("scheduler",)),
        child("scheduler", tmp_path, needs=("chain",)),
        child("chain", tmp_path),
    ]
    async with running(services, tmp_path) as supervisor:
        pids = supervisor.pids
        assert lines(tmp_path / "starts") == ["chain", "scheduler", "worker"]
    assert lines(tmp_path / "ends") == ["worker", "scheduler", "chain"]
    assert not any(alive(pid) for pid in pids.values())


async def test_a_killed_child_is_started_again_and_that_is_said_once(tmp_path, until):
    said: list[str] = []
    async with running([child("chain", tmp_path)], tmp_path, said) as supervisor:
        for _ in range(2):
            pid = supervisor.pids["chain"]
            os.kill(pid, signal.SIGKILL)
            await until(lambda pid=pid: supervisor.pids.get("chain", pid) != pid)
            await until((tmp_path / "chain").exists)
        assert said == ["chain ended (signal 9) and is started again."]
    assert lines(tmp_path / "starts") == ["chain"] * 3


async def test_what_is_to_be_adjusted_is_adjusted_after_each_start(tmp_path, until):
    adjusted = []

    async def adjust() -> None:
        adjusted.append((tmp_path / "chain").read_text())

    plain = child("chain", tmp_path)
    service = Service(
        name="chain",
        command=plain.command,
        ready=plain.ready,
        prepare=plain.prepare,
        adjust=adjust,
    )
    async with running([service], tmp_path) as supervisor:
        assert len(adjusted) == 1
        os.kill(supervisor.pids["chain"], signal.SIGKILL)
        await until(lambda: len(adjusted) == 2)
    assert adjusted[0] != adjusted[1]


async def test_a_child_that_cannot_start_is_named_with_its_own_words(tmp_path):
    async def never() -> bool:
        return False

    command = ("sh", "-c", "echo no room on the disk >&2; exit 3")
    broken = Service(name="results", command=command, ready=never)
    with pytest.raises(ExceptionGroup) as caught:
        async with running([child("chain", tmp_path), broken], tmp_path):
            pytest.fail("it cannot have started")
    (failed,) = causes(caught.value)
    assert isinstance(failed, ServiceFailed)
    assert "results did not start (exit code 3): no room on the disk" in str(failed)


async def test_a_child_that_would_end_in_the_same_way_is_not_started_again(tmp_path):
    said: list[str] = []
    command = ("sh", "-c", "echo the wallet is not there >&2; exit 3")
    hopeless = Service(name="worker", command=command, final=frozenset({3}))
    with anyio.fail_after(20):
        await Supervisor([hopeless], logs=tmp_path / "logs", say=said.append).run()
    (sentence,) = said
    assert "exit code 3): the wallet is not there" in sentence
    assert sentence.endswith("It is not started again.")


async def test_a_child_that_ignores_the_polite_word_is_ended_all_the_same(tmp_path):
    stubborn = (
        "import signal,time; signal.signal(15, signal.SIG_IGN); print('up', flush=True)\n"
    )
    command = (sys.executable, "-I", "-S", "-c", stubborn + "while True: time.sleep(9)")

    async def ready() -> bool:
        return "up" in (tmp_path / "logs" / "worker.log").read_text()

    service = Service(name="worker", command=command, ready=ready, grace=0.3)
    async with running([service], tmp_path) as supervisor:
        pid = supervisor.pids["worker"]
    assert not alive(pid)


PARENT = """
import sys, anyio
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from test_devnet_supervise import child, running
async def main():
    folder = Path(sys.argv[1])
    async with running([child("chain", folder), child("worker", folder)], folder) as supervisor:
        print(" ".join(map(str, supervisor.pids.values())), flush=True)
        await anyio.sleep_forever()
anyio.run(main)
"""


async def test_no_child_outlives_a_killed_parent(tmp_path, until):
    here = Path(__file__).parent
    source = Path(sys.modules[Supervisor.__module__].__file__).parents[2]
    parent = await anyio.open_process(
        [sys.executable, "-c", PARENT, str(tmp_path), str(here)],
        env={**os.environ, "PYTHONPATH": str(source)},
        stderr=subprocess.DEVNULL,
    )
    try:
        told = await BufferedByteReceiveStream(parent.stdout).receive_until(b"\n", 100)
        pids = [int(word) for word in told.split()]
        assert len(pids) == 2
        assert all(alive(pid) for pid in pids)
    finally:
        parent.kill()
        await parent.wait()
        await parent.aclose()
    await until(lambda: not any(alive(pid) for pid in pids))
