"""The network of a job in Docker.

Of a job that has none the daemon makes it, and we look into it while it is there. Where there
has to be a way out before the job begins, or what it was denied has to be read after its end
for sure, its network is that of a small container of ours, which only waits.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.to_thread

from tallystick.engine.errors import Unavailable
from tallystick.execution.connection import Connection, connected
from tallystick.execution.container import LABEL
from tallystick.execution.engine_api import EngineApi, NotThere
from tallystick.execution.executor import Job
from tallystick.execution.handmade import waiting_image
from tallystick.execution.netns import NetworkNamespace
from tallystick.execution.network import NAME_SERVER, NetworkPolicy, Reach
from tallystick.execution.probe import privileged
from tallystick.execution.sandbox import HOSTNAME

_MEMORY = 16 << 20


@dataclass(slots=True)
class DockerNetwork:
    """The network of one job."""

    api: EngineApi
    policy: NetworkPolicy
    holder: str | None = None
    """The container whose network the job's is to have."""
    _connection: Connection | None = None
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def joined(self, request: dict[str, Any]) -> dict[str, Any]:
        """The request for the job's container, with this network in it."""
        if self.holder is None:
            return request | {"HostConfig": request["HostConfig"] | _names("127.0.0.1")}
        rest = {key: value for key, value in request.items() if key != "Hostname"}
        mode = {"NetworkMode": f"container:{self.holder}"}
        return rest | {"HostConfig": request["HostConfig"] | mode}

    async def look(self, container: str) -> None:
        """Hold on to the network that the daemon made, if it is of this machine."""
        if self._connection or not privileged():
            return
        with contextlib.suppress(Unavailable, NotThere):
            namespace = _namespace(await self.api.container(container))
            if namespace:
                self._stack.callback(namespace.close)
                self._connection = Connection(self.policy, namespace)

    def denied(self) -> tuple[str, ...]:
        """As of Connection; nothing where the job had ended before anybody could look."""
        return self._connection.denied() if self._connection else ()

    def close(self) -> None:
        """Let go of the network."""
        self._stack.close()


def _namespace(document: Mapping[str, Any]) -> NetworkNamespace | None:
    """The network of a container; the daemon's own name of it outlives the first process."""
    pid = document["State"].get("Pid") or 0
    key = (document.get("NetworkSettings") or {}).get("SandboxKey") or ""
    for path in (f"/proc/{pid}/ns/net" if pid else "", key):
        if path and (found := NetworkNamespace.of(path)):
            return found
    return None


def holder_of(job: str) -> str:
    """The name of the container that keeps a job's network."""
    return f"{job}-network"


@asynccontextmanager
async def network_of_job(api: EngineApi, job: Job) -> AsyncIterator[DockerNetwork]:
    """Make it as the job's policy says; it is gone with the scope. Raises Unavailable."""
    network = DockerNetwork(api, job.network)
    try:
        if job.network.reach is Reach.NONE and not (job.note_denials and privileged()):
            yield network
            return
        async with (
            _held(api, job) as (holder, namespace),
            connected(job.network, namespace, job.name) as connection,
        ):
            network.holder, network._connection = holder, connection
            yield network
    finally:
        network.close()


@asynccontextmanager
async def _held(api: EngineApi, job: Job) -> AsyncIterator[tuple[str, NetworkNamespace]]:
    """A container that waits, and its network."""
    name, image = holder_of(job.name), waiting_image()
    try:
        await api.image(image.tag)
    except NotThere:
        await api.load_image(image.archive)
    try:
        with anyio.CancelScope(shield=True):
            await api.remove(name)
            holder = await api.create(name, _waiting(image.tag, job))
        await api.start(holder)
        namespace = _namespace(await api.container(holder))
        if namespace is None:
            raise Unavailable("The network of a container cannot be entered from here.")
        try:
            yield holder, namespace
        finally:
            namespace.close()
    finally:
        with anyio.CancelScope(shield=True), contextlib.suppress(Unavailable):
            await api.remove(name)


def _waiting(image: str, job: Job) -> dict[str, Any]:
    return {
        "Image": image,
        "Hostname": HOSTNAME,
        "Labels": {LABEL: job.name},
        "HostConfig": {
            "NetworkMode": "none",
            **_names(NAME_SERVER if job.network.reach is Reach.FULL else "127.0.0.1"),
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "ReadonlyRootfs": True,
            "Memory": _MEMORY,
            "PidsLimit": 4,
            # Docker turns IPv6 off; then the kernel counts nothing of what was tried over it.
            "Sysctls": {"net.ipv6.conf.all.disable_ipv6": "0"},
            "LogConfig": {"Type": "none", "Config": {}},
        },
    }


def _names(server: str) -> dict[str, Any]:
    """Who tells what names mean; else the daemon writes down who does so on this machine."""
    return {"Dns": [server], "DnsSearch": ["."], "ExtraHosts": [f"{HOSTNAME}:127.0.0.1"]}
