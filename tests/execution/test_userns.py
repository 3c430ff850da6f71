"""Where the kernel lets nobody make a user namespace, jobs run all the same, and it is said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tallystick.execution.docker import lacking
from tallystick.execution.executor import ImageRef, RuntimeUnfit
from tallystick.execution.probe import privileged
from tallystick.execution.userns import BASE, refusal

pytestmark = pytest.mark.anyio

_PROGRAM = """
import ctypes, errno, json, struct, sys
import anyio
from pathlib import Path
from tallystick.execution.choose import choose
from tallystick.execution.executor import ImageRef, Job, Limits

NEW_USER, LOAD, SET, EQUAL, RETURN = 0x10000000, 0x20, 0x45, 0x15, 0x06

def forbid():
    \"\"\"Have the kernel refuse unshare and clone when they ask for a user namespace.\"\"\"
    steps = [(LOAD, 0, 0, 0), (EQUAL, 2, 0, 272), (EQUAL, 1, 0, 56), (RETURN, 0, 0, 0x7FFF0000),
        (LOAD, 0, 0, 16), (SET, 0, 1, NEW_USER), (RETURN, 0, 0, 0x00050000 | errno.ENOSPC),
        (RETURN, 0, 0, 0x7FFF0000)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *s) for s in steps))
    program = struct.pack("=HxxxxxxQ", len(steps), ctypes.addressof(code))
    assert ctypes.CDLL(None).prctl(22, 2, program, 0, 0) == 0

async def main(runtime, cache, image, folder):
    executor = await choose(runtime, Path(cache))
    limits = Limits(time=20, memory=64 << 20, cpus=1.0, pids=20, disk=8 << 20)
    script = "cat /proc/self/uid_map; grep CapEff /proc/self/status; cat /iexec_in/data.txt"
    outcome = await executor.run(Job(name=f"test-userns-{runtime}", env={}, limits=limits,
        image=ImageRef.parse(image), args=("sh", "-c", script + "; echo x >/iexec_out/x"),
        input_dir=Path(folder, "in"), output_dir=Path(folder, "out")))
    said = executor.limits_not_enforced()
    await executor.aclose()
    print(json.dumps([outcome.exit_code, outcome.stdout.decode(), said]))

if sys.argv.pop(1) == "forbidden":
    forbid()
anyio.run(main, *sys.argv[1:])
"""


def ran(kernel: str, runtime: str, image: ImageRef, home: Path) -> tuple[int, str, list[str]]:
    """Exit code and words of a job, and what its executor says that it cannot enforce."""
    (home / "in").mkdir()
    (home / "in" / "data.txt").write_text("forty-two\n")
    words = [kernel, runtime, str(home / "cache"), str(image), str(home)]
    program = [sys.executable, "-c", _PROGRAM, *words]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    if "RuntimeUnfit" in done.stderr:
        raise RuntimeUnfit(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    code, said, lacking = json.loads(done.stdout.splitlines()[-1])
    return code, said, lacking


needs_root = pytest.mark.skipif(
    not privileged() or os.uname().machine != "x86_64" or refusal() is not None,
    reason="only root, on an x86_64 kernel with user namespaces, can show the difference",
)


@needs_root
@pytest.mark.parametrize("runtime", ["runc", "crun"])
@pytest.mark.parametrize("kernel", ["generous", "forbidden"])
def test_root_in_a_job_is_nobody_here_unless_the_kernel_forbids(
    runtime, kernel, plain, tmp_path
) -> None:
    try:
        code, said, lacking = ran(kernel, runtime, plain, tmp_path)
    except RuntimeUnfit as unfit:
        pytest.skip(str(unfit))
    users, capabilities, data = said.splitlines()
    assert (code, capabilities.split()[1], data) == (0, "0" * 16, "forty-two")
    assert (tmp_path / "out" / "x").stat().st_uid == os.getuid()
    if kernel == "generous":
        assert users.split() == ["0", str(BASE), "65536"]
        assert lacking == []
    else:
        assert users.split()[:2] == ["0", "0"]
        assert [text.partition(":")[0] for text in lacking] == ["user namespace"]


@needs_root
def test_bubblewrap_has_no_other_way(plain, tmp_path) -> None:
    with pytest.raises(RuntimeUnfit, match="bubblewrap"):
        ran("forbidden", "bubblewrap", plain, tmp_path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["name=seccomp,profile=default"], ["user namespace"]),
        (["name=seccomp,profile=default", "name=userns"], []),
        (["name=seccomp,profile=default", "name=rootless"], []),
        ([], ["system calls", "user namespace"]),
    ],
)
def test_a_docker_daemon_is_asked_whether_it_maps_users(options, said) -> None:
    info = {"MemoryLimit": 1, "CpuCfsQuota": 1, "PidsLimit": 1, "SecurityOptions": options}
    kinds = [text.partition(":")[0] for text in lacking(info, disks=object())]
    assert kinds == said
