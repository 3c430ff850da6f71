"""The processes of a local market, as data: commands, settings, and what needs what."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from anyio import to_thread

from tallystick.devnet.anvil import AnvilOptions
from tallystick.devnet.console import Console
from tallystick.devnet.deploy import DEPLOYER
from tallystick.devnet.explorer.known import Known
from tallystick.devnet.founding import SCHEDULER, Foundation, worker_names
from tallystick.devnet.memory import Memory, resume
from tallystick.devnet.places import Places, Setting, write_settings
from tallystick.devnet.ports import Ports, listens
from tallystick.devnet.presence import Presence
from tallystick.devnet.supervise import Service
from tallystick.poco.values import Address

CHAIN, REGISTRY, RESULTS = "chain", "registry", "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that decides how the processes run."""

    places: Places
    ports: Ports
    foundation: Foundation
    accounts: Mapping[str, Address]
    """By role."""
    anvil: Path
    poco: Path
    """The package of the contracts."""
    chain_id: int
    block_time: int
    workers: int
    classic: bool = False
    """Whether every task takes four transactions, also where one vote decides."""
    executor: str | None
    """What workers run apps with; None: the first that works."""

    @property
    def rpc_url(self) -> str:
        """Of the node."""
        return f"http://127.0.0.1:{self.ports.chain}"

    @property
    def ws_url(self) -> str:
        """Of the node, for subscriptions."""
        return f"ws://127.0.0.1:{self.ports.chain}"

    @property
    def scheduler_url(self) -> str:
        """Of the pool."""
        return f"http://127.0.0.1:{self.ports.scheduler}"

    @property
    def results_url(self) -> str:
        """Of the result store."""
        return f"http://127.0.0.1:{self.ports.results}"

    @property
    def explorer_url(self) -> str:
        """Of the pages about the chain."""
        return f"http://127.0.0.1:{self.ports.explorer}"

    @property
    def registry(self) -> str:
        """`host:port` of the image registry."""
        return f"127.0.0.1:{self.ports.registry}"


def known(plan: Plan) -> Known:
    """The chain of a market, and what to call everybody there."""
    founded = plan.foundation
    at = founded.contracts
    return Known(
        chain_id=plan.chain_id,
        rpc_url=plan.rpc_url,
        ws_url=plan.ws_url,
        hub=at.hub,
        roles=plan.accounts,
        contracts={
            "hub": at.hub,
            "RLC token": at.rlc,
            "app registry": at.app_registry,
            "dataset registry": at.dataset_registry,
            "workerpool registry": at.workerpool_registry,
            "local pool": founded.workerpool,
            **{f"app {name}": app.address for name, app in founded.apps.items()},
            "deployer": DEPLOYER,
        },
        package=plan.poco,
    )


def services(plan: Plan, console: Console, memory: Memory) -> list[Service]:
    """The children of `tally up`, after their settings were written."""
    _write_settings(plan)
    return [
        chain(plan, console, memory),
        registry(plan),
        _ours("results", plan, needs=(CHAIN,), port=plan.ports.results),
        _ours("scheduler", plan, needs=(CHAIN,), port=plan.ports.scheduler),
        *(_worker(name, plan) for name in worker_names(plan.workers)),
    ]


def chain(plan: Plan, console: Console, memory: Memory) -> Service:
    """The node. It loads the last dump at each start, and dumps once more at its end."""
    state = plan.places.chain / "state.json"
    options = AnvilOptions(
        binary=plan.anvil,
        folder=plan.places.chain,
        port=plan.ports.chain,
        chain_id=plan.chain_id,
        state=state,
        idle=True,
        quiet=True,
    )

    async def load() -> None:
        await to_thread.run_sync(memory.unpack, state)

    async def go() -> None:
        await to_thread.run_sync(lambda: resume(console, block_time=plan.block_time))

    async def save() -> None:
        await to_thread.run_sync(memory.save, console)

    return Service(
        name=CHAIN,
        command=tuple(options.command),
        environment=options.environment,
        prepare=load,
        ready=listens(plan.ports.chain),
        adjust=go,
        farewell=save,
    )


def registry(plan: Plan) -> Service:
    """The image registry."""
    options = ("--port", str(plan.ports.registry), "--shelf", str(plan.places.shelf))
    return Service(
        name=REGISTRY,
        command=(sys.executable, "-m", "tallystick.devnet.registry", *options),
        environment=_environment(),
        ready=listens(plan.ports.registry),
    )


def _ours(role: str, plan: Plan, *, needs: tuple[str, ...], port: int) -> Service:
    return Service(
        name=role,
        command=_command(role, plan.places.config(role)),
        environment=_environment(),
        needs=needs,
        ready=listens(port),
    )


def _worker(name: str, plan: Plan) -> Service:
    presence = Presence(plan.scheduler_url, plan.accounts[name])
    return Service(
        name=name,
        command=_command("worker", plan.places.config(name)),
        environment=_environment(),
        needs=(CHAIN, REGISTRY, RESULTS, SCHEDULER),
        prepare=presence.starts,
        ready=presence.noticed,
    )


def _command(role: str, config: Path) -> tuple[str, ...]:
    return (sys.executable, "-m", "tallystick", role, "start", "--config", str(config))


def _environment() -> Mapping[str, str]:
    # A child's log is of use only when it is written at once.
    return {**os.environ, "PYTHONUNBUFFERED": "1"}


def _write_settings(plan: Plan) -> None:
    write_settings(plan.places.config(SCHEDULER), _scheduler(plan))
    write_settings(plan.places.config(RESULTS), _results(plan))
    for name in worker_names(plan.workers):
        write_settings(plan.places.config(name), _worker_settings(name, plan))


def _scheduler(plan: Plan) -> dict[str, Setting]:
    return {
        "data_dir": plan.places.data(SCHEDULER),
        "rpc_urls": [plan.rpc_url],
        "ws_url": plan.ws_url,
        "hub": str(plan.foundation.contracts.hub),
        "workerpool": str(plan.foundation.workerpool),
        "wallet": plan.places.wallet(SCHEDULER),
        "password_file": plan.places.password,
        "results_url": plan.results_url,
        "name": "local pool",
        "explorer_url": plan.explorer_url,
        "join": True,
        "port": plan.ports.scheduler,
        "block_time": float(plan.block_time or 1),
        "contribute_and_finalize": not plan.classic,
    }


def _results(plan: Plan) -> dict[str, Setting]:
    return {
        "data_dir": plan.places.data(RESULTS),
        "rpc_urls": [plan.rpc_url],
        "hub": str(plan.foundation.contracts.hub),
        "port": plan.ports.results,
    }


def _worker_settings(name: str, plan: Plan) -> dict[str, Setting]:
    return {
        "name": name,
        "base_dir": plan.places.data("workers"),
        "scheduler_url": plan.scheduler_url,
        "pool": str(plan.foundation.workerpool),
        "hub": str(plan.foundation.contracts.hub),
        "wallet": plan.places.wallet(name),
        "password_file": plan.places.password,
        "rpc_urls": [plan.rpc_url],
        "ws_url": plan.ws_url,
        "executor": plan.executor,
        "slots": 1,
        # On one machine an input may well be on the loopback.
        "private_downloads": True,
    }
