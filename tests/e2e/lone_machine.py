"""A machine of its own: a network namespace whose only link leads to a pool."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from newcomer import NO_DOCKER

RELAY = Path(__file__).with_name("relay.py")
PATIENCE = 240.0


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def why_no_link() -> str:
    """Why no namespace can be made here; empty when it can."""
    if os.geteuid() != 0:
        return "only root makes network namespaces"
    made = subprocess.run(
        ["ip", "netns", "add", probe := f"tally-probe-{os.getpid()}"], check=False
    )
    if made.returncode:
        return "ip netns add does not work here"
    _ip("netns", "del", probe)
    return ""


@dataclass(frozen=True)
class LoneMachine:
    """The namespace, its link, and a home folder for whoever works there."""

    namespace: str
    pool: str
    """The address of the pool's end of the link."""
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        """A fresh login: nothing of this test's surroundings, and no Docker."""
        python = Path(sys.base_prefix) / "bin"
        path = f"{python}:/usr/sbin:/usr/bin:/sbin:/bin"
        return {"PATH": path, "HOME": str(self.home), "TERM": "dumb", **NO_DOCKER}

    def inside(self, *words: str) -> list[str]:
        """The command `words` inside the namespace."""
        return ["ip", "netns", "exec", self.namespace, *words]

    def sh(self, line: str, within: float = PATIENCE) -> subprocess.CompletedProcess[str]:
        """A line of shell, to its end, with nobody at a terminal."""
        return subprocess.run(
            self.inside("sh", "-c", line),
            env=self.environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
            start_new_session=True,
        )

    @contextmanager
    def running(self, line: str) -> Iterator[Running]:
        """A line of shell that goes on, e.g. as a worker; ended by SIGTERM."""
        path = self.home / f"said-{time.monotonic_ns()}.txt"
        with path.open("w") as said:
            process = subprocess.Popen(
                self.inside("sh", "-c", line),
                env=self.environment,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield Running(process, path)
        finally:
            _end(process)

    @contextmanager
    def terminal(self, line: str) -> Iterator[Terminal]:
        """A line of shell at a terminal of its own."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *self.inside("sh", "-c", line)],
            env=self.environment,
            cwd=self.home,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        try:
            yield Terminal(process, ours)
        finally:
            os.close(ours)  # the terminal hangs up
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@dataclass
class Running:
    process: subprocess.Popen[bytes]
    path: Path

    @property
    def said(self) -> str:
        return self.path.read_text()

    def until(self, words: str) -> None:
        end = time.monotonic() + PATIENCE
        while words not in self.said:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < end, self.said
            time.sleep(0.1)

    def ended(self) -> int:
        return self.process.wait(PATIENCE)


class Terminal:
    """What stands on the screen, and a keyboard."""

    def __init__(self, process: subprocess.Popen[bytes], file: int) -> None:
        self.process, self.screen, self._file = process, "", file

    def until(self, words: str) -> None:
        end = time.monotonic() + PATIENCE
        while words not in self.screen:
            assert time.monotonic() < end, self.screen
            if not self._read():
                raise AssertionError(f"it ended without saying {words!r}: {self.screen}")

    def answer(self, question: str, text: str) -> None:
        """Type `text` when the `question` is asked."""
        self.until(question)
        self.screen = self.screen.replace(question, f"<{question[:-1]}>", 1)
        os.write(self._file, text.encode() + b"\n")

    def ended(self) -> int:
        while self._read():
            pass
        return self.process.wait(PATIENCE)

    def _read(self) -> bool:
        """Whether more may come."""
        ready, _, _ = select.select([self._file], [], [], 1)
        if not ready:
            return self.process.poll() is None
        try:
            chunk = os.read(self._file, 1 << 16)
        except OSError:
            return False  # the other side hung up
        self.screen += chunk.decode(errors="replace")
        return bool(chunk)


@contextmanager
def lone_machine(folder: Path) -> Iterator[LoneMachine]:
    """A namespace with a link to this one, and no other way out."""
    number = os.getpid() % 250 + 1
    name, link = f"tally-join-{os.getpid()}", f"tj{os.getpid() % 100_000}"
    pool, worker = f"10.213.{number}.1", f"10.213.{number}.2"
    _ip("netns", "add", name)
    try:
        _ip("link", "add", f"{link}a", "type", "veth", "peer", "name", f"{link}b")
        _ip("link", "set", f"{link}b", "netns", name)
        _ip("addr", "add", f"{pool}/30", "dev", f"{link}a")
        _ip("link", "set", f"{link}a", "up")
        for words in (
            ("addr", "add", f"{worker}/30", "dev", f"{link}b"),
            ("link", "set", f"{link}b", "up"),
            ("link", "set", "lo", "up"),
        ):
            _ip("-n", name, *words)
        folder.mkdir(mode=0o700)
        yield LoneMachine(name, pool, folder)
    finally:
        subprocess.run(["ip", "link", "del", f"{link}a"], check=False, capture_output=True)
        _ip("netns", "del", name)


@contextmanager
def relayed(ways: list[str], inside: list[str] | None = None) -> Iterator[None]:
    """A relay as a process, in the namespace that `inside` enters."""
    command = [*(inside or []), sys.executable, str(RELAY), *ways]
    with subprocess.Popen(command) as process:
        try:
            yield
        finally:
            process.terminate()
