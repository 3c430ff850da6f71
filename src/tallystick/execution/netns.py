"""A network of a job's own, held by this process: made before the job, read after its end.

A socket belongs to the network in which it was made, not to the process that holds it. So this
process can listen on a job's loopback without giving the job a way out. Entering a network
needs root; each entry is a thread's, which ends with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from tallystick.engine.errors import Unavailable

T = TypeVar("T")

_CLONE_NEWNET = 0x4000_0000
_GET_KIND = 0xB703
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 1
_BACKLOG = 64

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(slots=True)
class NetworkNamespace:
    """The network, which lives as long as it is held open. Every method may raise OSError."""

    fd: int

    @classmethod
    def make(cls) -> Self:
        """A new one, in which there is only a loopback. Raises Unavailable."""
        try:
            return cls(_apart(_made))
        except OSError as error:
            raise Unavailable(f"A job's network could not be made: {error}.") from error

    @classmethod
    def of(cls, path: str) -> Self | None:
        """The one at `path`, such as /proc/1/ns/net; None where it cannot be opened."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        with contextlib.suppress(OSError):
            if fcntl.ioctl(fd, _GET_KIND) == _CLONE_NEWNET:
                return cls(fd)
        os.close(fd)
        return None

    def close(self) -> None:
        """Let go: with the last process in it, it ends."""
        os.close(self.fd)

    @property
    def path(self) -> str:
        """By which other programs of this machine can enter it."""
        return f"/proc/{os.getpid()}/fd/{self.fd}"

    def call(self, work: Callable[[], T]) -> T:
        """Do `work` inside."""

        def inside() -> T:
            _enter(self.fd)
            return work()

        return _apart(inside)

    def listener(self, port: int) -> socket.socket:
        """A listening socket on the loopback inside."""
        return self.call(lambda: _listening(port))

    def refused(self) -> int:
        """How often something inside wanted to go where no way leads."""
        return self.call(_no_routes)

    def lookups(self) -> int:
        """How often something inside asked a loopback on which nobody answers; in practice
        that is a name server's port."""
        return self.call(_closed_ports)


@contextlib.contextmanager
def inside(network: NetworkNamespace | None) -> Iterator[None]:
    """What is started in the scope, by this thread, is in that network; None: in ours."""
    if network is None:
        yield
        return
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _enter(network.fd)
        try:
            yield
        finally:
            _enter(own)
    finally:
        os.close(own)


def _apart(work: Callable[[], T]) -> T:
    """In a thread that ends afterwards, so that nobody else ever finds itself elsewhere."""
    with ThreadPoolExecutor(1, "network") as pool:
        return pool.submit(work).result()


def _checked(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def _enter(fd: int) -> None:
    _checked(_libc.setns(fd, _CLONE_NEWNET), "setns")


def _made() -> int:
    _checked(_libc.unshare(_CLONE_NEWNET), "unshare")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        name = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(control, _GET_FLAGS, name))[1]
        fcntl.ioctl(control, _SET_FLAGS, struct.pack("16sH14x", b"lo", flags | _UP))
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _listening(port: int) -> socket.socket:
    with contextlib.ExitStack() as undo:
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        undo.callback(made.close)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("127.0.0.1", port))
        made.listen(_BACKLOG)
        made.setblocking(False)
        undo.pop_all()
    return made


def _no_routes() -> int:
    return _counter("Ip", "OutNoRoutes") + _counter6("Ip6OutNoRoutes")


def _closed_ports() -> int:
    return _counter("Udp", "NoPorts") + _counter6("Udp6NoPorts")


def _counter(kind: str, name: str) -> int:
    """From a table of two lines: names, then figures."""
    rows = [
        line.split()
        for line in Path("/proc/thread-self/net/snmp").read_text().splitlines()
        if line.startswith(f"{kind}:")
    ]
    return int(dict(zip(rows[0], rows[1], strict=True))[name])


def _counter6(name: str) -> int:
    with contextlib.suppress(FileNotFoundError):
        for line in Path("/proc/thread-self/net/snmp6").read_text().splitlines():
            if line.split()[0] == name:
                return int(line.split()[1])
    return 0
