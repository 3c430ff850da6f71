"""Somebody who has just found the program: a home of their own, a terminal, no knowledge."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tallystick.cli.main import run
from tallystick.devnet.packages import default_cache

CHECKOUT = Path(__file__).resolve().parents[2]
NO_DOCKER = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}

_PERSONAL = ("XDG_", "TALLYSTICK_", "DOCKER_", "PYTEST_", "PYTHON", "VIRTUAL_ENV", "COLUMNS")


@dataclass(frozen=True)
class Told:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def answer(self) -> dict[str, Any]:
        """The object in the last line of stdout."""
        answer: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return answer

    def refusal(self) -> str:
        """The one sentence of a command that failed as it should."""
        assert self.code not in (0, 70), self
        assert "Traceback" not in self.out + self.err
        said = [line for line in self.err.splitlines() if line.strip()]
        *usage, sentence = said
        assert all(line.startswith(("Usage:", "Try ")) for line in usage), self.err
        return sentence


@dataclass(frozen=True, kw_only=True)
class Person:
    """Whose home is `home`, and who calls the program by `program`."""

    home: Path
    program: Sequence[str] = (sys.executable, "-P", "-m", "tallystick")
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The machine's, without anything that belongs to another person."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(_PERSONAL)}
        return {**kept, "HOME": str(self.home), **self.extra}

    def tally(self, *words: object, within: float = 120) -> Told:
        """Run a command to its end."""
        done = subprocess.run(
            self._command(words),
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return Told(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def foreground(self, *words: object) -> Iterator[Foreground]:
        """Run a command as the foreground job of a terminal; killed in the end."""
        with (self.home / "said.txt").open("w") as said:
            process = subprocess.Popen(
                self._command(words),
                cwd=self.home,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield Foreground(process, self.home / "said.txt")
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()

    def pids(self) -> list[int]:
        """The processes that run in this person's name, or on this person's files."""
        home, found = os.fsencode(self.home), []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                about = [(process / name).read_bytes() for name in ("cmdline", "environ")]
            except OSError:
                continue
            if any(home in text for text in about):
                found.append(int(process.name))
        return found

    def until_nothing_runs(self, within: float = 30) -> None:
        """Raises AssertionError when something is left after so many seconds."""
        end = time.monotonic() + within
        while left := self.pids():
            assert time.monotonic() < end, left
            time.sleep(0.1)

    def _command(self, words: Sequence[object]) -> list[str]:
        return [*self.program, *map(str, words)]


def at_once(words: Sequence[object]) -> Told:
    """The same command inside this process, which spares it a second of loading itself."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([str(word) for word in words])
    return Told(code, out.getvalue(), err.getvalue())


@dataclass(frozen=True)
class Foreground:
    """A command that runs, and what it has said so far."""

    process: subprocess.Popen[bytes]
    path: Path

    @property
    def said(self) -> str:
        return self.path.read_text()

    def until(self, words: str, within: float = 120) -> None:
        """Return when it has said that."""
        end = time.monotonic() + within
        while words not in self.said:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < end, self.said
            time.sleep(0.1)

    def ctrl_c(self, within: float = 60) -> int:
        """What a terminal does, and the exit code that comes of it."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(within)


def warm(home: Path, **extra: str) -> Person:
    """A person who has everything downloaded already, and no Docker."""
    settings = {"TALLYSTICK_CACHE": str(default_cache()), **NO_DOCKER, **extra}
    return Person(home=home, extra=settings)
