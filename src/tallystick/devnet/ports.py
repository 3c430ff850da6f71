"""Which ports a local market listens on: fixed ones below the kernel's own range."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import anyio

from tallystick.devnet.supervise import Probe
from tallystick.engine.errors import Refused

USUAL = 13000
"""Where a scheduler of iExec listens."""

_STEP = 10
_TRIES = 200
_HIGHEST = 32768
"""From here on the kernel gives ports to outgoing connections."""


class PortTaken(Refused):
    """Another program listens on a port that was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The ports of one market: five in a row."""

    scheduler: int
    results: int
    registry: int
    chain: int
    explorer: int

    @classmethod
    def from_base(cls, base: int) -> Self:
        """The ports from `base` on."""
        return cls(
            scheduler=base,
            results=base + 1,
            registry=base + 2,
            chain=base + 3,
            explorer=base + 4,
        )

    @property
    def all(self) -> tuple[int, ...]:
        """Every one of them."""
        return (self.scheduler, self.results, self.registry, self.chain, self.explorer)


@contextmanager
def reserved(asked: int | None, *, last: int | None = None) -> Iterator[Ports]:
    """Five free ports: those asked for, or else the last ones, the usual ones, any others.

    No other market of this machine takes them within the block, even before anybody listens.
    Raises PortTaken.
    """
    if asked is not None:
        _possible(asked)
        bases = [asked]
    else:
        usual = [USUAL + step * _STEP for step in range(_TRIES)]
        bases = [last, *usual] if last is not None else usual
    taken = None
    for base in bases:
        ports = Ports.from_base(base)
        with _claimed(base) as ours:
            taken = next((port for port in ports.all if not free(port)), None)
            if ours and taken is None:
                yield ports
                return
    if asked is None:
        raise PortTaken(
            f"No five free ports were found from {USUAL} on; ask for some (--port)."
        )
    raise PortTaken(
        f"Port {taken or asked} is taken by another program (a market uses {asked} to "
        f"{asked + 4}). Stop that program, or choose others with --port."
    )


def _possible(base: int) -> None:
    if not 1 <= base <= _HIGHEST - len(Ports.from_base(base).all):
        raise PortTaken(
            f"Port {base} cannot be used: a market takes five ports in a row, from 1 to "
            f"{_HIGHEST - 1} (above, the kernel gives them to others)."
        )


@contextmanager
def _claimed(base: int) -> Iterator[bool]:
    """Whether these ports are ours among the markets of this machine; so they stay meanwhile.

    The claim is a socket in Linux's abstract name space: it belongs to the network that the
    ports belong to, is the same for every user, and goes with the process.
    """
    with socket.socket(socket.AF_UNIX) as claim:
        try:
            claim.bind(f"\0tallystick-ports-{base}")
        except OSError:
            yield False
        else:
            yield True


def free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback now."""
    with socket.socket() as attempt:
        # As servers do, so that connections which only linger are no obstacle.
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def listens(port: int) -> Probe:
    """A probe: whether somebody accepts connections there."""

    async def probe() -> bool:
        try:
            connection = await anyio.connect_tcp("127.0.0.1", port)
        except OSError:
            return False
        await connection.aclose()
        return True

    return probe
