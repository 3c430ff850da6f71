"""gVisor as a runtime of its own, and as the Docker daemon's; only for who asks for it."""

from __future__ import annotations

import platform
import shutil
from collections.abc import AsyncIterator

import pytest
from docker_daemon import docker_daemon, why_not
from oci_shop import busybox
from sandbox_lab import cache_of

from tallystick.execution.choose import PREFERENCE, choose
from tallystick.execution.executor import Ended, Executor, RuntimeUnfit
from tallystick.execution.network import NetworkPolicy, Reach

MIB = 1 << 20
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.long,
    pytest.mark.skipif(
        not shutil.which("runsc"),
        reason="gVisor is not installed: apt-get install runsc (Debian)",
    ),
]


@pytest.fixture(scope="module")
async def gvisor(tmp_path_factory) -> AsyncIterator[Executor]:
    try:
        executor = await choose("runsc", cache_of(tmp_path_factory, "runsc"))
    except RuntimeUnfit as unfit:
        pytest.skip(str(unfit))
    yield executor
    await executor.aclose()


async def test_a_job_meets_another_kernel_and_nothing_of_ours(gvisor, job) -> None:
    script = """
    uname -v; cat /iexec_in/data.txt; echo hi >/iexec_out/result; echo oh >&2
    awk '/^Cap/ {print $2}' /proc/self/status | sort -u; awk 'NR>2 {print $1}' /proc/net/dev
    ls /proc | grep -c '^[0-9]'; mount -t tmpfs none /tmp 2>/dev/null && echo mounted; exit 3"""
    work = job(script)
    outcome = await gvisor.run(work)
    assert (outcome.exit_code, outcome.stderr) == (3, b"oh\n")
    kernel, data, capabilities, links, processes = outcome.stdout.decode().splitlines()
    assert kernel != platform.version()
    assert (data, capabilities, links) == ("forty-two", "0" * 16, "lo:")
    assert int(processes) < 8
    assert (work.output_dir / "result").read_text() == "hi\n"


async def test_the_user_of_the_image_writes_where_it_may(gvisor, job, shop) -> None:
    image = shop.add("gvisor/user", busybox(), User="app", Cmd=["sh"])
    script = """
    id; for place in / /bin /etc /iexec_in /srv/work /iexec_out /tmp $HOME /dev/shm
    do echo x 2>/dev/null >$place/new && echo $place; done"""
    work = job(script, image=image)
    outcome = await gvisor.run(work)
    who, *writable = outcome.stdout.decode().splitlines()
    assert who == "uid=1000(app) gid=1001(app) groups=44(video)"
    assert writable == ["/iexec_out", "/tmp", "/home/app", "/dev/shm"]
    assert (work.output_dir / "new").lstat().st_uid == 0, "what is handed over is ours"


@pytest.mark.parametrize(
    ("script", "limits", "ended"),
    [
        ("tail -c 900m /dev/zero", {"memory": 32 * MIB}, Ended.OUT_OF_MEMORY),
        ("sleep 100", {"time": 0.5}, Ended.TIMED_OUT),
    ],
    ids=["memory", "time"],
)
async def test_limits_hold_for_the_job_and_leave_room_for_gvisor(
    gvisor, job, script, limits, ended
) -> None:
    outcome = await gvisor.run(job(script, **limits))
    assert (outcome.ended, outcome.exit_code) == (ended, None)


async def test_a_job_writes_no_more_than_it_may(gvisor, job) -> None:
    """gVisor may end with an error of its own then, so the cause is not always told."""
    work = job("dd if=/dev/zero of=/iexec_out/big bs=4k count=9000")
    outcome = await gvisor.run(work)
    assert not outcome.succeeded
    left = work.output_dir.glob("*")
    assert sum(file.stat().st_size for file in left) <= work.limits.disk


async def test_a_small_job_is_not_killed_for_what_gvisor_needs(gvisor, job) -> None:
    outcome = await gvisor.run(job("echo fits", memory=32 * MIB, pids=4))
    assert (outcome.exit_code, outcome.stdout) == (0, b"fits\n")


async def test_a_fork_bomb_is_held_and_ended(gvisor, job) -> None:
    outcome = await gvisor.run(job("b() { b | b & }; b; sleep 20", time=2.0, pids=20))
    assert outcome.ended in (Ended.TIMED_OUT, Ended.EXITED, Ended.KILLED)


async def test_a_command_that_is_not_there_is_told(gvisor, job) -> None:
    outcome = await gvisor.run(job("", args=("nothing-here",)))
    assert (outcome.exit_code, outcome.ended) == (127, Ended.EXITED)
    assert b"nothing-here" in outcome.stderr


async def test_what_it_cannot_do_is_said(gvisor, job) -> None:
    assert "runsc" not in PREFERENCE
    assert any(text.startswith("pids") for text in gvisor.limits_not_enforced())
    assert gvisor.network_refused(NetworkPolicy(reach=Reach.FULL))
    assert gvisor.network_refused(NetworkPolicy()) is None


async def test_docker_uses_it_when_told_to(shop, plain, job, tmp_path, monkeypatch) -> None:
    if reason := why_not():
        pytest.skip(reason)
    # As `runtimeArgs` in daemon.json, which this daemon has not.
    program = tmp_path / "runsc"
    program.write_text('#!/bin/sh\nexec runsc --network=none "$@"\n')
    program.chmod(0o755)
    with docker_daemon("--add-runtime", f"runsc={program}") as host:
        monkeypatch.setenv("DOCKER_HOST", host)
        executor = await choose("docker", tmp_path / "cache", docker_runtime="runsc")
        try:
            assert executor.network_refused(NetworkPolicy(reach=Reach.ALLOW_LIST))
            outcome = await executor.run(job("uname -r; echo hi >/iexec_out/x; exit 3"))
        finally:
            await executor.aclose()
    assert (outcome.exit_code, outcome.stdout) == (3, b"4.4.0\n"), outcome


async def test_a_daemon_that_does_not_know_it_is_told_of(
    docker_host, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_host)
    with pytest.raises(RuntimeUnfit, match=r"no runtime 'runsc' \(it has .*runc.*daemon.json"):
        await choose("docker", tmp_path, docker_runtime="runsc")
