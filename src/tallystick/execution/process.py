"""One child process whose words are kept in part, and which never outlives its scope."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
from dataclasses import dataclass, field

import anyio

from tallystick.execution.tasks import together

_CHUNK = 1 << 18
_PIPE = 1 << 20


@dataclass(slots=True)
class Tail:
    """The last `limit` bytes of a stream, however long it was."""

    limit: int
    dropped: int = 0
    _kept: bytearray = field(default_factory=bytearray)

    def add(self, chunk: bytes | memoryview) -> None:
        """Append; forget from the front, now and then."""
        self._kept += chunk
        if len(self._kept) > 2 * self.limit + _CHUNK:
            self._trim()

    def _trim(self) -> None:
        excess = max(0, len(self._kept) - self.limit)
        del self._kept[:excess]
        self.dropped += excess

    def bytes(self) -> bytes:
        """What is kept."""
        self._trim()
        return bytes(self._kept)


@dataclass(slots=True)
class Process:
    """A running child with its output on pipes."""

    child: subprocess.Popen[bytes]
    stdout: Tail
    stderr: Tail

    async def finish(self) -> int:
        """Read to the end of the output and wait for the exit code (negative: a signal)."""
        pipes = ((self.child.stdout, self.stdout), (self.child.stderr, self.stderr))
        ends = [anyio.Event() for _ in pipes]
        async with together() as group:
            for (pipe, tail), end in zip(pipes, ends, strict=True):
                assert pipe is not None
                group.start_soon(_drain, pipe.fileno(), tail, end)
            await self._ended()
            # Whoever still holds a pipe now does not belong to the job: it is not waited for.
            with anyio.move_on_after(1):
                for end in ends:
                    await end.wait()
            group.cancel_scope.cancel()
        return self.child.wait()

    async def _ended(self) -> None:
        if self.child.poll() is not None:
            return
        fd = os.pidfd_open(self.child.pid)
        try:
            await anyio.wait_readable(fd)
        finally:
            os.close(fd)

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Close our ends of the pipes and reap the child, which must have been killed."""
        self.child.wait()
        for pipe in (self.child.stdout, self.child.stderr):
            if pipe is not None:
                pipe.close()


def spawn(argv: list[str], log: int, *, pass_fds: tuple[int, ...] = ()) -> Process:
    """Start a program with a bare environment, no input and two pipes."""
    child = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
        pass_fds=pass_fds,
        cwd="/",
        bufsize=0,
    )
    return Process(child, Tail(log), Tail(log))


async def _drain(fd: int, tail: Tail, end: anyio.Event) -> None:
    os.set_blocking(fd, False)
    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE)
    while True:
        await anyio.wait_readable(fd)
        try:
            chunk = os.read(fd, _CHUNK)
        except BlockingIOError:
            continue
        if not chunk:
            break
        tail.add(chunk)
    end.set()
