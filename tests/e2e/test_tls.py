"""A pool whose certificates an authority of its own signed: scheduler, store and a worker."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import plain_front
import pytest
from anyio import to_thread
from market_lab import Children, Lab, market_lab
from several_lab import free_port
from tls_lab import Authority, authority, needs_openssl

from tallystick.devnet.places import Places
from tallystick.devnet.services import Plan, services
from tallystick.devnet.supervise import Service

pytestmark = [pytest.mark.anyio, pytest.mark.long, needs_openssl]

GUARDED = {"scheduler": "pool", "results": "results"}
"""Each service by TLS, and the command group that starts it."""


def by_tls(ca: Authority) -> Children:
    """The usual processes; those who look on go through fronts without TLS."""

    def children(plan: Plan, console: Any, memory: Any) -> list[Service]:
        found = services(plan, console, memory)
        ports = {role: free_port() for role in GUARDED}
        store = {"results_url": f"https://127.0.0.1:{ports['results']}"}
        trust = {"ca_file": str(ca.certificate)}
        for role, port in ports.items():
            shown = ca.issue(role)
            mine = {"port": port, "tls_cert": str(shown.chain), "tls_key": str(shown.key)}
            more = {**store, **trust} if role == "scheduler" else {}
            rewrite(plan.places.config(role), {**mine, **more})
        url = f"https://127.0.0.1:{ports['scheduler']}"
        rewrite(plan.places.config("worker-1"), {"scheduler_url": url, **trust})
        return [each for service in found for each in fronted(service, plan, ports, ca)]

    return children


def fronted(
    service: Service, plan: Plan, ports: dict[str, int], ca: Authority
) -> list[Service]:
    if service.name not in GUARDED:
        return [service]
    role, guarded = service.name, f"{service.name}-tls"
    start = (sys.executable, "-m", "tallystick", GUARDED[role], "start", "--config")
    plain = getattr(plan.ports, role)
    front = (sys.executable, plain_front.__file__, str(plain), str(ports[role]))
    environment, needs = service.environment, service.needs
    return [
        Service(
            name=guarded,
            command=(*start, str(plan.places.config(role))),
            environment=environment,
            needs=needs,
            ready=service.ready,
        ),
        Service(
            name=role,
            command=(*front, str(ca.certificate)),
            environment=environment,
            needs=needs,
            ready=service.ready,
        ),
    ]


def rewrite(path: Path, settings: dict[str, object]) -> None:
    """These settings before all others, which may have tables at the end."""
    lines = path.read_text().splitlines()
    kept = [line for line in lines if line.partition(" =")[0] not in settings]
    mine = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    path.write_text("\n".join([*mine, *kept]) + "\n")


@pytest.fixture(scope="module")
async def lab(executor: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    folder = tmp_path_factory.mktemp("tls")
    options: dict[str, Any] = {"workers": 1, "executor": executor}
    async with market_lab(folder, children=by_tls(authority(folder)), **options) as found:
        yield found


async def test_a_worker_that_knows_the_authority_is_paid(lab: Lab) -> None:
    ending = await lab.see(await lab.buy("digits"))
    assert ending.paid


async def test_one_that_does_not_know_it_is_told_what_to_set(lab: Lab, tmp_path: Path) -> None:
    known = Places(lab.market.data).config("worker-1")
    assert "....  scheduler: TLS" not in await doctor(known)
    stranger = tmp_path / "worker.toml"
    lines = known.read_text().splitlines()
    stranger.write_text("\n".join(line for line in lines if not line.startswith("ca_file")))
    told = await doctor(stranger)
    assert "certificate" in told
    assert "set ca_file" in told


async def doctor(config: Path) -> str:
    """What `tally worker doctor` says."""
    command = [sys.executable, "-m", "tallystick", "worker", "doctor", "--config", str(config)]
    done = await to_thread.run_sync(
        lambda: subprocess.run(command, capture_output=True, text=True, check=False)
    )
    return " ".join(done.stdout.split())
