"""A worker that was killed comes back to a container that went on without it."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import anyio
import pytest
from killed_worker import commands, sleep_of, worker_with_a_job
from sandbox_lab import Jobs, cache_of

from tallystick.execution.adoption import FINGERPRINT, Left, fingerprint, worth_keeping
from tallystick.execution.choose import choose
from tallystick.execution.container import LABEL
from tallystick.execution.disk import device_on
from tallystick.execution.docker import Docker
from tallystick.execution.executor import Ended, Executor, Job, RuntimeUnfit

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def docker(docker_host, tmp_path_factory) -> AsyncIterator[Docker]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", docker_host)
        executor = await choose("docker", cache_of(tmp_path_factory, "docker"))
    assert isinstance(executor, Docker)
    yield executor
    await executor.aclose()


async def orphan(docker: Executor, work: Job) -> str:
    """The container of `work`, whose worker was killed while it ran."""
    await docker.fetch(work.image, time_limit=120)
    script = work.args[2]
    worker = await anyio.to_thread.run_sync(worker_with_a_job, docker, work, script)
    worker.kill()
    worker.wait()
    return str((await docker.api.container(work.name))["Id"])


def waiting(job: Jobs, **limits) -> Job:
    """A job that says something, leaves something, and ends when the test wants it to."""
    work = job("", **limits)
    script = f"""
    echo begun; echo hm >&2; echo 1 >/iexec_out/first
    (sleep {sleep_of(work)} &)
    while [ ! -e /iexec_in/go ]; do sleep 0.05; done
    echo ended; echo 2 >/iexec_out/second; exit 3"""
    return replace(work, args=("sh", "-c", script))


async def test_a_running_container_is_waited_for(docker, job) -> None:
    work = waiting(job)
    first = await orphan(docker, work)
    async with anyio.create_task_group() as group:

        async def go() -> None:
            assert (await docker.api.container(work.name))["Id"] == first
            (work.input_dir / "go").touch()

        group.start_soon(go)
        outcome = await docker.run(work)
    assert (outcome.exit_code, outcome.ended) == (3, Ended.EXITED)
    assert (outcome.stdout, outcome.stderr) == (b"begun\nended\n", b"hm\n")
    assert sorted(p.name for p in work.output_dir.iterdir()) == ["first", "second"]
    assert await starts(docker, work) == 1
    assert await nothing_left(docker, work)


async def test_one_that_ended_meanwhile_is_collected(docker, job) -> None:
    work = waiting(job)
    first = await orphan(docker, work)
    (work.input_dir / "go").touch()
    assert await docker.api.wait(first) == 3
    outcome = await docker.run(work)
    assert (outcome.exit_code, outcome.stdout) == (3, b"begun\nended\n")
    assert (work.output_dir / "second").read_text() == "2\n"
    assert await starts(docker, work) == 1
    assert await nothing_left(docker, work)


async def test_its_time_counts_from_its_own_start(docker, job) -> None:
    work = waiting(job, time=1.0)
    await orphan(docker, work)
    outcome = await docker.run(work)
    assert (outcome.ended, outcome.exit_code) == (Ended.TIMED_OUT, None)
    assert outcome.stdout == b"begun\n"
    assert outcome.seconds >= 1.0
    assert await starts(docker, work) == 1
    assert await nothing_left(docker, work)


async def test_one_that_took_too_long_meanwhile_did_not_make_it(docker, job) -> None:
    work = waiting(job)
    first = await orphan(docker, work)
    (work.input_dir / "go").touch()
    await docker.api.wait(first)
    hasty = replace(work, limits=replace(work.limits, time=0.001))
    outcome = await docker.run(hasty)
    assert (outcome.ended, outcome.exit_code) == (Ended.TIMED_OUT, None)
    assert await nothing_left(docker, work)


async def test_one_that_somebody_killed_begins_anew(docker, job) -> None:
    work = waiting(job)
    first = await orphan(docker, work)
    await docker.api.kill(first)
    await docker.api.wait(first)
    (work.input_dir / "go").touch()
    outcome = await docker.run(work)
    assert (outcome.exit_code, outcome.stdout) == (3, b"begun\nended\n")
    assert await starts(docker, work) == 2
    assert await nothing_left(docker, work)


async def test_what_is_due_is_spared_by_the_broom(docker, job) -> None:
    due, done = waiting(job), waiting(job)
    first = await orphan(docker, due)
    await orphan(docker, done)
    await docker.sweep("test-", spare=[due.name])
    assert await nothing_left(docker, done)
    (due.input_dir / "go").touch()
    assert (await docker.api.container(due.name))["Id"] == first
    assert (await docker.run(due)).stdout == b"begun\nended\n"


@pytest.mark.parametrize("runtime", ["runc", "crun", "bubblewrap"])
async def test_without_a_daemon_a_job_dies_with_its_worker(
    runtime, job, tmp_path_factory
) -> None:
    try:
        executor = await choose(runtime, cache_of(tmp_path_factory, runtime))
    except RuntimeUnfit as unfit:
        pytest.skip(str(unfit))
    try:
        work = waiting(job)
        await executor.fetch(work.image, time_limit=120)
        start = worker_with_a_job
        worker = await anyio.to_thread.run_sync(start, executor, work, work.args[2])
        worker.kill()
        worker.wait()
        assert await anyio.to_thread.run_sync(ends, f"sleep {sleep_of(work)}")
        (work.input_dir / "go").touch()
        assert (await executor.run(work)).stdout == b"begun\nended\n"
    finally:
        await executor.aclose()


async def starts(docker: Docker, work: Job) -> int:
    """How often a container of that job was started."""
    filters = {"container": [work.name], "event": ["start"]}
    span = {"since": "0", "until": str(time.time()), "filters": json.dumps(filters)}
    answer = await docker.api._request("GET", "/events", params=span)
    return len(answer.text.splitlines())


def ends(command: str) -> bool:
    """Whether the kernel takes that command away within a minute."""
    deadline = time.monotonic() + 60
    while any(c.startswith(command) for c in commands()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


async def nothing_left(docker: Docker, work: Job) -> bool:
    """Whether container, volume, device and folder are gone."""
    containers = await docker.api.containers(LABEL)
    return (
        not any(work.name in str(c["Names"]) for c in containers)
        and work.name not in await docker.api.volume_sizes()
        and device_on(docker.jobs / work.name / "disk.ext4") is None
        and not (docker.jobs / work.name).exists()
    )


def inspected(**state: object) -> dict:
    """Docker's inspection of a container that ended well."""
    told = {
        "Status": "exited",
        "ExitCode": 0,
        "Error": "",
        "OOMKilled": False,
        "StartedAt": "2026-01-02T03:04:05.123456789Z",
        "FinishedAt": "2026-01-02T03:04:07.5Z",
    }
    return {"Id": "c", "Config": {"Labels": {FINGERPRINT: "f"}}, "State": told | state}


def test_which_containers_are_worth_keeping() -> None:
    ended = worth_keeping(inspected(), "f")
    assert isinstance(ended, Left)
    assert ended.ended is not None
    assert round(ended.ended - ended.began, 3) == 2.377
    running = worth_keeping(inspected(Status="running", FinishedAt="0001-01-01T00:00:00Z"), "f")
    assert running == Left("c", ended.began, None, 0)
    assert worth_keeping(inspected(ExitCode=137, OOMKilled=True), "f")
    for other in (
        worth_keeping(inspected(), "another job"),
        worth_keeping(inspected(Status="created"), "f"),
        worth_keeping(inspected(ExitCode=137), "f"),
        worth_keeping(inspected(ExitCode=143), "f"),
        worth_keeping(inspected(ExitCode=127, Error="no such file"), "f"),
    ):
        assert other is None


def test_the_fingerprint_is_of_the_job_not_of_its_waiting(tmp_path, plain) -> None:
    job = Jobs(tmp_path, plain)
    work = job("echo")
    same = replace(work, name="x", limits=replace(work.limits, time=1.0, log=7))
    assert fingerprint(same) == fingerprint(work)
    assert fingerprint(replace(work, args=("sh",))) != fingerprint(work)
    assert fingerprint(replace(work, env={"A": "b"})) != fingerprint(work)
    more = replace(work.limits, memory=work.limits.memory + 1)
    assert fingerprint(replace(work, limits=more)) != fingerprint(work)
