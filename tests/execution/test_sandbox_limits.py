"""A job gets what was agreed, and ends; nothing of it stays."""

from __future__ import annotations

import os
import re
import stat
import time
from dataclasses import replace

import anyio
import pytest
from killed_worker import commands, sleep_of, worker_with_a_job
from traces import traces, traces_now

from tallystick.execution.executor import Ended, Job

MIB = 1 << 20
pytestmark = pytest.mark.anyio


async def test_an_endless_job_is_ended_with_all_its_children(executor, job) -> None:
    mark = f"98{time.time_ns() % 10**6:06}"
    work = job(
        f"trap '' TERM INT HUP; (setsid sleep {mark} &) ; setsid sleep {mark} & sleep {mark}",
        time=0.7,
    )
    outcome = await executor.run(work)
    assert (outcome.ended, outcome.exit_code) == (Ended.TIMED_OUT, None)
    assert outcome.seconds > 0.6
    assert not [c for c in commands() if mark in c]
    assert traces(work.name, executor) == []


async def test_a_fork_bomb_is_held_and_ended(executor, job) -> None:
    script = """
    n=0; while [ $n -lt 200 ]; do sleep 20 2>/dev/null & n=$((n+1)); done 2>/dev/null
    b() { b | b & }; b; sleep 20"""
    work = job(script, time=1.0, pids=30)
    outcome = await executor.run(work)
    assert outcome.ended in (Ended.TIMED_OUT, Ended.EXITED)
    assert traces(work.name, executor) == []


async def test_processes_are_counted(executor, job) -> None:
    script = """
    (n=0; while [ $n -lt 100 ]; do sleep 60 & n=$((n+1)); echo $n >/tmp/n; done) 2>/dev/null
    cat /tmp/n; kill -9 -1"""
    outcome = await executor.run(job(script, pids=20))
    made = re.search(rb"\d+", outcome.stdout)
    assert made, outcome
    assert 5 < int(made[0]) <= 21


async def test_too_much_memory_ends_it(executor, job) -> None:
    outcome = await executor.run(job("tail -c 900m /dev/zero", memory=32 * MIB))
    if any(text.startswith("memory") for text in executor.limits_not_enforced()):
        assert outcome.exit_code != 0, "the one process is told that there is no more"
    else:
        assert (outcome.ended, outcome.exit_code) == (Ended.OUT_OF_MEMORY, None)


async def test_too_much_memory_of_many_processes_ends_it(executor, job) -> None:
    hog = "head -c 15m /dev/zero | tail -c 12m | (sleep 2; wc -c) &"
    outcome = await executor.run(job(f"{hog} {hog} {hog} wait", memory=24 * MIB))
    survivors = outcome.stdout.count(b"12582912")
    assert outcome.ended is Ended.OUT_OF_MEMORY or survivors < 3, outcome


async def test_memory_within_the_limit_is_fine(executor, job) -> None:
    outcome = await executor.run(
        job("head -c 20m /dev/zero | tail -c 15m | wc -c", memory=64 * MIB)
    )
    assert (outcome.ended, outcome.stdout) == (Ended.EXITED, b"15728640\n")


async def test_places_in_memory_are_small(executor, job) -> None:
    script = """
    for p in /tmp $HOME /dev/shm; do dd if=/dev/zero of=$p/big bs=1M count=30 2>/dev/null
    stat -c %s $p/big; rm $p/big; done"""
    outcome = await executor.run(job(script, memory=64 * MIB, disk=8 * MIB))
    assert [int(n) for n in outcome.stdout.split()] == [8 * MIB] * 3


async def test_half_a_processor_is_half(executor, job) -> None:
    script = """
    t() { awk '{print int($1*100)}' /proc/uptime; }
    ( while :; do :; done ) & began=$(t); while [ $(t) -lt $((began+150)) ]; do sleep 0.05; done
    awk '{print $14+$15}' /proc/$!/stat; echo $(($(t)-began)); kill -9 $!"""
    if any(text.startswith("cpus") for text in executor.limits_not_enforced()):
        pytest.skip("no control groups")
    outcome = await executor.run(job(script, cpus=0.3))
    used, passed = map(int, outcome.stdout.split())
    assert used < passed / 2, "hundredths of a second"


DISK_EATERS = {
    "a real file": "dd if=/dev/zero of=/iexec_out/big bs=1M count=1000",
    "a sparse file": "truncate -s 10G /iexec_out/big",
    "many files": "for i in $(seq 40); do dd if=/dev/zero of=/iexec_out/$i bs=1M count=1; done",
    "too many names": "cd /iexec_out; for i in $(seq 600); do touch $i; done; sleep 0.5",
    "too deep": "cd /iexec_out; for i in $(seq 100); do mkdir d; cd d; done",
}


@pytest.mark.parametrize("how", DISK_EATERS)
async def test_a_full_disk_is_told(executor, job, how) -> None:
    work = job(DISK_EATERS[how], disk=8 * MIB, files=300)
    outcome = await executor.run(work)
    if how == "a sparse file" and any(
        "disk" in text for text in executor.limits_not_enforced()
    ):
        assert outcome.ended is Ended.DISK_FULL or b"too large" in outcome.stderr
    else:
        assert (outcome.ended, outcome.exit_code) == (Ended.DISK_FULL, None), outcome
    assert sum(f.lstat().st_size for f in work.output_dir.rglob("*")) <= 9 * MIB
    assert traces(work.name, executor) == []


@pytest.mark.long
@pytest.mark.parametrize(
    "script",
    ["dd if=/dev/zero of=/iexec_out/big bs=1M count=1024", "truncate -s 10G /iexec_out/big"],
)
async def test_a_gigabyte_and_ten_of_holes_are_more_than_200_megabytes(
    executor, job, script
) -> None:
    work = job(script, disk=200 * MIB, time=120.0, memory=512 * MIB)
    outcome = await executor.run(work)
    assert not outcome.succeeded
    assert outcome.ended is Ended.DISK_FULL or b"too large" in outcome.stderr
    assert list(work.output_dir.glob("*")) == []
    assert traces(work.name, executor) == []


async def test_output_up_to_the_limit_is_kept(executor, job) -> None:
    work = job("dd if=/dev/urandom of=/iexec_out/big bs=1M count=7 2>/dev/null", disk=8 * MIB)
    outcome = await executor.run(work)
    assert outcome.succeeded, outcome
    assert (work.output_dir / "big").stat().st_size == 7 * MIB


@pytest.mark.parametrize("mebibytes", [20, pytest.param(1024, marks=pytest.mark.long)])
async def test_a_flood_of_words_costs_nothing(executor, job, mebibytes) -> None:
    flood = f"dd if=/dev/zero bs=1M count={mebibytes} 2>/dev/null"
    work = job(f"{flood}; echo; echo the end; echo hm >&2", log=1_000, time=200.0)
    outcome = await executor.run(work)
    assert outcome.exit_code == 0
    assert len(outcome.stdout) == 1_000
    assert outcome.stdout.endswith(b"\nthe end\n")
    assert outcome.stdout_dropped == mebibytes * MIB + 9 - 1_000
    assert (outcome.stderr, outcome.stderr_dropped) == (b"hm\n", 0)


async def test_hostile_output_is_taken_over_as_it_is(executor, job, tmp_path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    script = f"""
    cd /iexec_out; ln -s {secret} link; ln -s / root; mkfifo pipe; mkdir shut; echo x >shut/in
    echo y >hidden; chmod 0 hidden shut; echo z >.wh.file; ln .wh.file twin
    echo n >"$(printf 'a\\nb')"
    """
    work = job(script)
    outcome = await executor.run(work)
    assert outcome.succeeded, outcome
    out = work.output_dir
    names = {str(p.relative_to(out)) for p in out.rglob("*")}
    assert names == {"link", "root", "shut", "shut/in", "hidden", ".wh.file", "twin", "a\nb"}
    assert os.readlink(out / "link") == str(secret)
    assert (out / "hidden").read_text() == "y\n"
    assert {p.lstat().st_uid for p in out.rglob("*")} == {os.geteuid()}
    assert not any(stat.S_ISFIFO(p.lstat().st_mode) for p in out.rglob("*"))


async def test_a_cancelled_job_leaves_nothing(executor, job) -> None:
    work = job("echo x >/iexec_out/x; sleep 100")
    await executor.fetch(work.image, time_limit=120)
    for wait in (0.0, 0.05, 0.4):
        with anyio.move_on_after(wait) as scope:
            await executor.run(work)
        assert scope.cancelled_caught
        assert traces(work.name, executor) == []


async def test_what_a_killed_worker_left_is_swept(executor, job, tmp_path) -> None:
    work = job("")
    beside = job("")
    script = f"(sleep {sleep_of(beside)} &) ; until [ -e /iexec_in/go ]; do sleep 0.05; done"
    beside = replace(beside, args=("sh", "-c", script))
    await executor.fetch(work.image, time_limit=120)
    worker = await anyio.to_thread.run_sync(worker_with_a_job, executor, work)
    other = anyio.Event()
    async with anyio.create_task_group() as group:

        async def bystander() -> None:
            assert (await executor.run(beside)).succeeded
            other.set()

        group.start_soon(bystander)
        await anyio.to_thread.run_sync(begins, beside)
        worker.kill()
        worker.wait()
        assert traces_now(work.name, executor) != []
        await executor.sweep(work.name[: work.name.index("-", 5)])
        assert not other.is_set()
        (beside.input_dir / "go").touch()
    assert traces(work.name, executor) == []
    assert not [c for c in commands() if c.startswith(f"sleep {sleep_of(work)}")]


def begins(work: Job) -> None:
    """Return when the process of `work` is seen on this machine."""
    deadline = time.monotonic() + 60
    while not any(c.startswith(f"sleep {sleep_of(work)}") for c in commands()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


async def test_a_job_begun_again_replaces_what_a_crash_left(executor, job, tmp_path) -> None:
    work = job("echo again; ls /iexec_out")
    await executor.fetch(work.image, time_limit=120)
    worker = await anyio.to_thread.run_sync(worker_with_a_job, executor, work)
    worker.kill()
    worker.wait()
    outcome = await executor.run(work)
    assert (outcome.stdout, outcome.exit_code) == (b"again\n", 0)
    assert traces(work.name, executor) == []
