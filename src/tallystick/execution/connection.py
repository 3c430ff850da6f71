"""The network of one job, by its policy, from before its start until after its end."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address

import anyio
import anyio.to_thread

from tallystick.engine.errors import Unavailable
from tallystick.execution.egress import Ledger, proxy
from tallystick.execution.netns import NetworkNamespace
from tallystick.execution.network import PROXY_PORT, NetworkPolicy, Reach

_NEIGHBOURS = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
    *("172.16.0.0/12", "192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4"),
    "240.0.0.0/4",
)
"""Networks to which a job with the internet has no way."""
_DEVICE = "tap0"
_START_TIME = 10.0


@dataclass(slots=True)
class Connection:
    """What a job has, and what became of it."""

    policy: NetworkPolicy
    namespace: NetworkNamespace
    ledger: Ledger = field(default_factory=Ledger)

    def denied(self) -> tuple[str, ...]:
        """Phrases for what the job tried and was not let; to be asked after its end."""
        places = tuple(f"{place} ({why})" for place, why in self.ledger.refused.items())
        if self.policy.reach is Reach.FULL:
            return places
        said = []
        if count := self.namespace.refused():
            said.append(f"the network, which it tried to reach {_times(count)}")
        if count := self.namespace.lookups():
            said.append(f"a name server, which it asked {_times(count)}")
        return (*said, *places)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def slirp_missing() -> str | None:
    """Why no job can have the internet here; None when it can."""
    for program in ("slirp4netns", "ip"):
        if shutil.which(program) is None:
            return f"{program} is not installed, which carries a job's connections"
    return None


@asynccontextmanager
async def connected(
    policy: NetworkPolicy, namespace: NetworkNamespace, job: str
) -> AsyncIterator[Connection]:
    """Give what is in `namespace` the network of `policy`, and write down where it went.

    Raises Unavailable when that cannot be done now.
    """
    connection = Connection(policy, namespace)
    async with contextlib.AsyncExitStack() as stack:
        if policy.reach is Reach.ALLOW_LIST:
            listener = await anyio.to_thread.run_sync(namespace.listener, PROXY_PORT)
            await stack.enter_async_context(proxy(policy, listener, connection.ledger))
        elif policy.reach is Reach.FULL:
            stack.enter_context(await anyio.to_thread.run_sync(_slirp, namespace))
        try:
            yield connection
        finally:
            connection.ledger.report(job)


def _slirp(namespace: NetworkNamespace) -> contextlib.ExitStack:
    """A running slirp4netns that carries the namespace's packets, and ends with the stack.

    It makes ordinary connections of this process's, without any right of root; there is no way
    through it to the loopback of this machine.
    """
    (ready, told), (leash, hand) = os.pipe(), os.pipe()
    words = ["slirp4netns", "--configure", "--mtu=1500", "--disable-host-loopback"]
    words += ["--enable-sandbox", "--enable-seccomp", "--netns-type=path"]
    # It ends when the other end of the leash is closed: with the stack, or with this process.
    words += [f"--ready-fd={told}", f"--exit-fd={leash}", namespace.path, _DEVICE]
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, ready)
        stack.callback(os.close, hand)
        try:
            child = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(told, leash),
            )
        finally:
            os.close(told)
            os.close(leash)
        stack.callback(_end, child)
        if not os.read(ready, 1):
            raise Unavailable(f"slirp4netns did not start: {_last_words(child)}.")
        own = _own_addresses()
        namespace.call(lambda: _close_off((*_NEIGHBOURS, *own)))
        return stack.pop_all()


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.communicate()


def _last_words(child: subprocess.Popen[bytes]) -> str:
    child.kill()
    return child.communicate()[1].decode(errors="replace").strip()[-300:]


def _own_addresses() -> list[str]:
    """Of this machine, at which its services could be reached from outside."""
    listed = subprocess.run(
        ["ip", "-o", "-4", "addr"], capture_output=True, text=True, check=True
    )
    found = (line.split()[3].partition("/")[0] for line in listed.stdout.splitlines())
    return [f"{address}/32" for address in found if not ip_address(address).is_loopback]


def _close_off(places: tuple[str, ...]) -> None:
    """No way to these networks; runs in the namespace, whose job may not change it."""
    routes = "".join(f"route replace unreachable {place}\n" for place in places)
    subprocess.run(["ip", "-batch", "-"], input=routes.encode(), check=True)
