"""Why a worker is not heard, or hears nothing: the way to its peers, step by step.

Made for when things are broken: every step is tried, and says what it found.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import anyio

from tallystick.chain.answers import RpcError
from tallystick.chain.queries import read_head
from tallystick.chain.rpc import Rpc
from tallystick.engine.errors import Refused, Unavailable
from tallystick.engine.trust import trusting
from tallystick.execution.probe import daemon_trouble
from tallystick.wire.scheduler import ChainConfig, SchedulerClient, Unwelcome
from tallystick.wire.sockjs_client import Endpoint
from tallystick.worker import verdicts
from tallystick.worker.checkup import ahead, no_client
from tallystick.worker.config import WorkerConfig
from tallystick.worker.preflight import Exit, Verdict, fail, ok, unknown, warn

_PATIENCE: Final = 5.0
_PORTS = {"http": 80, "https": 443}


@dataclass(slots=True)
class Doctor:
    """One examination."""

    config: WorkerConfig
    verdicts: list[Verdict] = field(default_factory=list[Verdict])
    chain: ChainConfig | None = None

    async def run(self) -> list[Verdict]:
        """Every step in order; what builds on a step that failed is left open."""
        await self._way("scheduler", self.config.scheduler_url)
        await self._http()
        await self._nodes()
        await self._docker()
        return self.verdicts

    async def _way(self, to: str, url: str) -> None:
        """DNS, TCP and TLS to the host of `url`."""
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 80)
        steps = [("DNS", _resolve(host, port)), ("TCP", _connect(host, port))]
        if parts.scheme == "https":
            steps.append(("TLS", _handshake(host, port, self.config.ca_file)))
        failed = ""
        for name, step in steps:
            what = f"{to}: {name}"
            if failed:
                _close(step)
                self.verdicts.append(unknown(what, f"{failed} failed."))
                continue
            self.verdicts.append(verdict := await _tried(what, step, host, port))
            failed = "" if verdict.exit is Exit.FINE else name
        if parts.scheme != "https":
            self.verdicts.append(ok(f"{to}: TLS", f"not used by {parts.scheme}://{host}."))

    async def _http(self) -> None:
        """The scheduler's answers, its clock, and the channel by which it tells news."""
        url, lines = self.config.scheduler_url, ("clock", "message channel")
        async with no_client(url, self.config.ca_file) as client:
            try:
                with anyio.fail_after(_PATIENCE):
                    version, pool = await client.version(), await client.config()
                    self.chain = await client.chain_config(pool.config_server_url)
            except (Unavailable, Refused, TimeoutError) as trouble:
                said = str(trouble) or f"no answer within {_PATIENCE:g} s."
                self.verdicts.append(verdicts.of_silence(url, said))
                self.verdicts += [unknown(line, "HTTP failed.") for line in lines]
                return
            self.verdicts.append(verdicts.of_scheduler(url, version))
            self.verdicts.append(verdicts.of_clock(ahead(client.told_time)))
            self.verdicts.append(await _channel(client))

    async def _nodes(self) -> None:
        urls = self.config.rpc_urls or ((self.chain.chain_node_url,) if self.chain else ())
        if not urls:
            why = "The scheduler was to name a node, and rpc_urls is not set."
            self.verdicts.append(unknown("node in sync", why))
        for url in urls:
            await self._way("node", url)
            self.verdicts.append(await _synced(url, self.config.ca_file))

    async def _docker(self) -> None:
        if self.config.executor not in (None, "docker"):
            found = f"not used: apps run with {self.config.executor}."
            self.verdicts.append(ok("docker socket", found))
            return
        trouble = await daemon_trouble()
        if not trouble:
            self.verdicts.append(ok("docker socket", "a daemon answers."))
            return
        if self.config.executor is None:
            rest = "Another runtime is taken instead: `tally worker check` says which."
            self.verdicts.append(warn("docker socket", trouble, rest))
            return
        remedy = (
            "Start Docker, put this user into the group docker, or give the worker's container"
            " -v /var/run/docker.sock:/var/run/docker.sock."
        )
        self.verdicts.append(fail("docker socket", trouble, remedy, Exit.RUNTIME))


async def _resolve(host: str, port: int) -> str:
    found = await anyio.getaddrinfo(host, port)
    return ", ".join(sorted({str(each[4][0]) for each in found}))


async def _connect(host: str, port: int) -> str:
    stream = await anyio.connect_tcp(host, port)
    await stream.aclose()
    return f"port {port} accepts connections"


async def _handshake(host: str, port: int, ca: Path | None) -> str:
    known = trusting("https:", ca=ca)
    context = known if isinstance(known, ssl.SSLContext) else None
    stream = await anyio.connect_tcp(
        host, port, tls=True, tls_standard_compatible=False, ssl_context=context
    )
    await stream.aclose()
    return "the certificate is good"


_REMEDIES = {
    "DNS": "Is the name right, and does this machine (or container) have a name server?",
    "TCP": "Is the port right, and may this machine connect to it? Only outgoing connections"
    " are needed.",
    "TLS": "Is the clock right, and the certificate signed by somebody this machine knows? For"
    " a pool with an authority of its own set ca_file.",
}


async def _tried(what: str, step: Awaitable[str], host: str, port: int) -> Verdict:
    name = what.rpartition(" ")[2]
    try:
        with anyio.fail_after(_PATIENCE):
            return ok(what, f"{host}: {await step}.")
    except (OSError, ssl.SSLError, UnicodeError) as trouble:
        reason = str(trouble) or type(trouble).__name__
    except TimeoutError:
        reason = f"no answer within {_PATIENCE:g} s"
    return fail(what, f"{host}:{port}: {reason}.", _REMEDIES[name], Exit.UNREACHABLE)


def _close(step: Awaitable[str]) -> None:
    """A step that is not taken: without this Python complains that nobody awaited it."""
    close = getattr(step, "close", None)
    if close is not None:
        close()


async def _channel(client: SchedulerClient) -> Verdict:
    """Whether the scheduler tells news to workers that wait for them. Without a login the
    right answer is that nobody is logged in."""
    check = "message channel"
    try:
        with anyio.fail_after(_PATIENCE):
            await client.news(0, of="", wait=0)
    except Unwelcome:
        return ok(check, "news come with the scheduler's answers: no other port is needed.")
    except (Unavailable, Refused, TimeoutError) as trouble:
        if await _speaks_v9(client):
            return ok(check, "notifications come as from a v9 scheduler: STOMP at /connect.")
        said = str(trouble) or "no answer"
        remedy = "Work is asked for, but news come late: see to the proxy before it."
        return warn(check, said, remedy)
    return ok(check, "open to everybody.")


async def _speaks_v9(client: SchedulerClient) -> bool:
    try:
        with anyio.fail_after(_PATIENCE):
            async with Endpoint(f"{client.url}/connect") as endpoint:
                await endpoint.session()
    except (Unavailable, TimeoutError):
        return False
    return True


async def _synced(url: str, ca: Path | None) -> Verdict:
    """How old the last block of a node is, and whether it says that it is behind."""
    check = "node in sync"
    try:
        async with Rpc([url], ca=ca) as rpc:
            with anyio.fail_after(_PATIENCE):
                block, syncing = await rpc.batch(
                    [("eth_getBlockByNumber", ("latest", False)), ("eth_syncing", ())]
                )
        if isinstance(block, RpcError):
            raise block
        head = read_head(block)
    except (Unavailable, Refused, TimeoutError) as trouble:
        said = str(trouble) or f"no answer within {_PATIENCE:g} s."
        return fail(check, said, "Name another node in rpc_urls.", Exit.UNREACHABLE)
    age = time.time() - head.timestamp
    return verdicts.of_head(head.number, age, syncing=isinstance(syncing, dict))
