"""Apps that mean harm, on every executor: the table is in attacks.py.

After each attack nothing of the job is left, the host's files are what they were, what it left
is a safe result or none, and the next honest job runs.
"""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from attacks import DEEDS, GLANCES, Deed, sys_program
from killed_worker import commands
from oci_shop import BUSYBOX, busybox, file, layer
from traces import traces

from tallystick.storage.archive import digest_of, unpack, zip_output
from tallystick.storage.digest import BadOutput

pytestmark = pytest.mark.anyio

SECRET = "hunter2-of-the-host"


@dataclass
class Host:
    """What an attacker would like to reach."""

    marker: Path
    pid: int
    port: int
    abstract: bytes
    visits: list[str] = field(default_factory=list)

    def words(self) -> dict[str, str]:
        address = struct.pack("<H", socket.AF_UNIX) + self.abstract
        return {
            "marker": str(self.marker),
            "pid": str(self.pid),
            "port": str(self.port),
            "address": own_address(),
            "abstract": address.hex(),
            "abstract_size": str(len(address)),
            "secret": SECRET,
            "other": "secret-of-another-job",
            "now": struct.pack("<q", int(time.time())).hex(),
        }


def own_address() -> str:
    """Of this machine in its network; nothing is sent to find out."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe,
        contextlib.suppress(OSError),
    ):
        probe.connect(("203.0.113.1", 9))
        return str(probe.getsockname()[0])
    return "127.0.0.1"


@pytest.fixture(scope="module")
def host(tmp_path_factory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("host")
    marker = folder / "marker"
    marker.write_text(SECRET)
    marker.chmod(0o666)
    name = f"\0tallystick-{os.getpid()}".encode()
    with (
        subprocess.Popen(["sleep", "600"]) as bystander,
        socket.create_server(("", 0)) as door,
        socket.socket(socket.AF_UNIX) as hidden,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("TALLYSTICK_PASSWORD", SECRET)
        hidden.bind(name)
        hidden.listen()
        found = Host(marker, bystander.pid, door.getsockname()[1], name)
        threads = [threading.Thread(target=welcome, args=(s, found)) for s in (door, hidden)]
        for thread in threads:
            thread.start()
        yield found
        assert bystander.poll() is None
        bystander.kill()
        for line in (door, hidden):
            line.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
    assert found.visits == [], "somebody came through"


def welcome(line: socket.socket, host: Host) -> None:
    with contextlib.suppress(OSError):
        while True:
            visitor, _ = line.accept()
            host.visits.append(str(line.getsockname()))
            visitor.close()


@pytest.fixture(scope="module")
def armed(shop):
    """An image with a program for bare system calls, and one that is setuid root."""
    if platform.machine() != "x86_64":
        pytest.skip("the attackers' tools are for x86_64")
    tools = layer(
        file("bin/sys", sys_program(), 0o755),
        file("bin/rootly", BUSYBOX.read_bytes(), 0o4755),
    )
    return {
        user: shop.add(f"test/armed-{user}", busybox(), tools, Cmd=["sh"], User=user)
        for user in ("root", "app")
    }


def script_of(words: dict[str, str]) -> str:
    """All glances, each in a shell of its own; a line for each that got what it wanted."""
    lines = []
    for glance in GLANCES:
        body = glance.script
        for key, value in words.items():
            body = body.replace(f"{{{key}}}", value)
        lines.append(f"( {body} ) </dev/null >/dev/null 2>&1 && echo got={glance.name}")
        lines.append(f"echo tried={glance.name}")
    return "\n".join(lines)


@pytest.mark.parametrize("user", ["root", pytest.param("app", marks=pytest.mark.long)])
async def test_nothing_is_to_be_had(executor, job, armed, host, user) -> None:
    work = job(script_of(host.words()), image=armed[user], time=8.0)
    other = work.input_dir.parent.parent / "secret-of-another-job"
    other.mkdir()
    outcome = await executor.run(work)
    lines = outcome.stdout.decode().split()
    tried = {line[6:] for line in lines if line.startswith("tried=")}
    assert tried == {glance.name for glance in GLANCES}, outcome.stdout[-300:]
    got = {line[4:] for line in lines if line.startswith("got=")}
    allowed = {glance.name for glance in GLANCES if executor.name in glance.lets}
    assert not got - allowed, f"let: {sorted(got - allowed)}"
    await aftermath(executor, job, host, work, "")


@pytest.mark.parametrize(
    "deed",
    [pytest.param(d, id=d.name, marks=() if d.quick else pytest.mark.long) for d in DEEDS],
)
async def test_it_ends_as_agreed(executor, job, armed, host, deed: Deed) -> None:
    if executor.name == "runsc":
        pytest.skip("tests of gVisor are in tests/execution/test_gvisor.py")
    mark = f"66{time.time_ns() % 10**8:08}"
    script = deed.script.replace("{marker}", str(host.marker)).replace("{mark}", mark)
    work = job(script, image=armed["root"], **({"time": 20.0} | dict(deed.limits)))
    outcome = await executor.run(work)
    assert outcome.ended.value in deed.ends, outcome
    assert len(outcome.stdout) <= work.limits.log
    assert refusal(work.output_dir, work.input_dir.parent) == deed.refused
    await aftermath(executor, job, host, work, f"sleep {mark}")


def refusal(out: Path, folder: Path) -> str | None:
    """Make a result of it as a worker does, and unpack it as a requester does."""
    if not (out / "computed.json").exists():
        return None
    try:
        zip_output(out, folder / "result.zip")
        digest_of(out)
    except BadOutput as problem:
        return problem.cause
    unpack(folder / "result.zip", folder / "unpacked")
    for path in (folder / "unpacked").rglob("*"):
        assert path.is_dir() or path.is_file()
        assert not path.is_symlink()
        assert SECRET.encode() not in (path.read_bytes() if path.is_file() else b"")
    return None


async def aftermath(executor, job, host: Host, work, process: str) -> None:
    """Nothing is left, nothing is changed, life goes on."""
    assert traces(work.name, executor) == []
    assert not process or not [line for line in commands() if line.startswith(process)]
    assert host.marker.read_text() == SECRET
    assert (work.input_dir / "data.txt").read_text() == "forty-two\n"
    honest = job("cat /iexec_in/data.txt >/iexec_out/copy; sh -c 'echo fine'")
    outcome = await executor.run(honest)
    assert (outcome.exit_code, outcome.stdout) == (0, b"fine\n"), outcome
    assert (honest.output_dir / "copy").read_text() == "forty-two\n"
