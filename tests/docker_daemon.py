"""A Docker daemon of the tests' own: private socket, data and state, gone afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_START_LIMIT = 90.0


def why_not() -> str | None:
    """Why no daemon can be started here; None when one can."""
    if os.geteuid() != 0:
        return "a Docker daemon of the tests' own needs root"
    if not shutil.which("dockerd"):
        return "dockerd is not installed"
    return None


@contextlib.contextmanager
def docker_daemon(*options: str) -> Iterator[str]:
    """Start it, with more `options` on its command line; the value for DOCKER_HOST.

    It shares the network of the host, so that it can pull from registries on the loopback,
    and touches neither bridges nor firewall.
    """
    root = Path(tempfile.mkdtemp(prefix="tallystick-docker-"))
    path = root / "docker.sock"
    log = (root / "dockerd.log").open("wb")
    daemon = subprocess.Popen(
        [
            "dockerd",
            *("--data-root", str(root / "data"), "--exec-root", str(root / "exec")),
            *("--pidfile", str(root / "docker.pid"), "-H", f"unix://{path}"),
            *("--bridge=none", "--iptables=false", "--ip6tables=false"),
            *options,
        ],
        stdout=log,
        stderr=log,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _await_answer(daemon, path, root / "dockerd.log")
        yield f"unix://{path}"
    finally:
        _stop(daemon)
        log.close()
        _remove(root)


def _await_answer(daemon: subprocess.Popen[bytes], path: Path, log: Path) -> None:
    deadline = time.monotonic() + _START_LIMIT
    while time.monotonic() < deadline and daemon.poll() is None:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as line:
            line.settimeout(5)
            line.connect(str(path))
            line.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            if b" 200 " in line.recv(64):
                return
        time.sleep(0.05)
    raise RuntimeError(f"dockerd did not start: {log.read_text()[-2000:]}")


def _stop(daemon: subprocess.Popen[bytes]) -> None:
    """Ask, then insist; the whole session, so that its containerd goes, too."""
    daemon.send_signal(signal.SIGTERM)
    try:
        daemon.wait(20)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(daemon.pid, signal.SIGKILL)


def _remove(root: Path) -> None:
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    below = [line.split()[1] for line in mounts if line.split()[1].startswith(f"{root}/")]
    for place in sorted(below, reverse=True):
        subprocess.run(["umount", "-l", place], check=False)
    shutil.rmtree(root, ignore_errors=True)
