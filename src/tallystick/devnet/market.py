"""A whole market on this machine: `running()` starts it, `Market.load()` finds it."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import anyio
from anyio import to_thread
from pydantic import TypeAdapter

from tallystick.devnet.anvil import CHAIN_ID
from tallystick.devnet.console import Console
from tallystick.devnet.explorer.door import explore
from tallystick.devnet.founding import (
    Founder,
    Image,
    RegisteredApp,
    open_wallets,
    roles,
)
from tallystick.devnet.images import stock
from tallystick.devnet.memory import Memory
from tallystick.devnet.packages import default_cache, packages
from tallystick.devnet.places import Places, write_private
from tallystick.devnet.ports import Ports, reserved
from tallystick.devnet.services import Plan, known, services
from tallystick.devnet.supervise import Service, Supervisor
from tallystick.engine.errors import Refused
from tallystick.poco.values import Address
from tallystick.requester.session import Place

Say = Callable[[str], None]
Children = Callable[[Plan, Console, Memory], list[Service]]


class AlreadyRunning(Refused):
    """Another process runs the market in this folder."""


class NotRunning(Refused):
    """No market runs in this folder."""


class NotAMarket(Refused):
    """The folder holds other things than a market; nothing in it was touched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registries:
    """Where assets are registered."""

    app: Address
    dataset: Address
    workerpool: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """A running market: what a client must know of it. Nothing in here is secret."""

    data: Path
    chain_id: int
    rpc_url: str
    ws_url: str
    hub: Address
    rlc: Address
    registries: Registries
    workerpool: Address
    scheduler_url: str
    results_url: str
    registry_url: str
    accounts: Mapping[str, Address]
    """By role."""
    keystores: Mapping[str, Path]
    """By role."""
    password_file: Path
    """Opens every one of the keystores."""
    orders: Path
    """The order book."""
    apps: Mapping[str, RegisteredApp]
    pids: Mapping[str, int]
    """Of the processes, by name, as they were at the start."""
    block_time: int
    explorer_url: str = ""
    """Pages about what happens on the chain."""

    @classmethod
    def load(cls, data: Path) -> Self:
        """The market that runs in the folder `data`. Raises NotRunning."""
        places = Places(data.resolve())
        if not (places.market.is_file() and _locked(places.lock)):
            raise NotRunning(f"No local market runs in {data}: start one with tally up.")
        return TypeAdapter(cls).validate_json(places.market.read_bytes())

    @property
    def place(self) -> Place:
        """Where the market is, for a requester."""
        return Place(
            chain_id=self.chain_id,
            rpc_urls=(self.rpc_url,),
            ws_url=self.ws_url,
            hub=self.hub,
            trust_hub=self.hub,
            rlc=self.rlc,
            scheduler_url=self.scheduler_url,
            results_url=self.results_url,
            book=self.orders,
            state=self.data / "client",
            private=True,
        )

    def save(self) -> None:
        """Write it where other commands find it; nobody else may read it."""
        text = TypeAdapter(type(self)).dump_json(self, indent=1).decode()
        write_private(Places(self.data).market, text + "\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketOptions:
    """How a market shall run."""

    data: Path
    workers: int = 3
    block_time: int = 1
    """Seconds; with 0 every transaction is mined at once."""
    port: int | None = None
    """The first of five; None: free ones."""
    executor: str | None = None
    """What workers run apps with; None: the first that works."""
    cache: Path | None = None
    """Where downloads are kept; None: this user's cache."""
    chain_id: int = CHAIN_ID
    classic: bool = False
    """Whether every task takes four transactions, also where one vote decides."""


@asynccontextmanager
async def running(
    options: MarketOptions, say: Say, children: Children = services
) -> AsyncIterator[Market]:
    """A market that runs as long as the block; its state is kept for the next time.

    `say` is told, in sentences, what takes time and what a person should know. `children` says
    which processes the market consists of. Raises
    AlreadyRunning, PortTaken, NpmMissing, PackagesMissing, ServiceFailed and others of our
    nouns; KeyboardInterrupt when the process was asked to stop by SIGTERM or SIGHUP.
    """
    options = replace(options, data=options.data.resolve())
    last = _last_base(Places(options.data))
    with hold(options.data), reserved(options.port, last=last) as ports:
        plan = await to_thread.run_sync(_prepare, options, ports, say)
        with Console(plan.rpc_url) as console:
            memory = Memory(plan.places.state)
            processes = children(plan, console, memory)
            supervisor = Supervisor(processes, logs=plan.places.logs, say=say)
            stopped = False
            async with anyio.create_task_group() as group:
                group.start_soon(_obey, group.cancel_scope)
                await group.start(supervisor.run)
                group.start_soon(memory.keep, console, say)
                market = _market(plan, supervisor)
                market.save()
                group.start_soon(explore, known(plan), ports.explorer, say)
                try:
                    yield market
                finally:
                    plan.places.market.unlink(missing_ok=True)
                stopped = True
                group.cancel_scope.cancel()
    if not stopped:
        raise KeyboardInterrupt


@contextmanager
def hold(data: Path) -> Iterator[None]:
    """Keep everybody else from running the market in `data`. Raises AlreadyRunning."""
    places = Places(data)
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    with places.lock.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise AlreadyRunning(
                f"A market runs in {data} already (process {holder}). Stop it first, or give "
                "the new one another folder with --data."
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def reset(data: Path) -> None:
    """Forget the market in `data`: chain, wallets, results, everything.

    Raises AlreadyRunning, or NotAMarket when something else lies there.
    """
    if not data.exists():
        return
    places = Places(data)
    ours = places.foundation.exists() or places.lock.exists() or places.password.exists()
    if not ours and any(data.iterdir()):
        raise NotAMarket(f"{data} holds no market, so nothing in it is deleted.")
    with hold(data):
        for entry in data.iterdir():
            if entry == places.lock:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()


async def _obey(scope: anyio.CancelScope) -> None:
    """Stop in good order when asked to, and not only by Ctrl-C."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGHUP) as signals:
        async for _ in signals:
            scope.cancel()


def _locked(path: Path) -> bool:
    try:
        with path.open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _prepare(options: MarketOptions, ports: Ports, say: Say) -> Plan:
    places = Places(options.data)
    places.market.unlink(missing_ok=True)
    write_private(places.ports, f"{ports.scheduler}\n")
    cache = options.cache or default_cache()
    with ThreadPoolExecutor(1) as aside:
        stocking = aside.submit(stock, places.shelf, cache, say=say)
        supplies = packages(cache, say=say)
        shelved = stocking.result()
    images = {
        name: Image(
            reference=f"127.0.0.1:{ports.registry}/{one.repository}:{one.tag}",
            digest=one.digest,
        )
        for name, one in shelved.items()
    }
    wallets = open_wallets(places, roles(options.workers))
    foundation = Founder(
        packages=supplies,
        places=places,
        chain_id=options.chain_id,
        wallets=wallets,
        images=images,
    ).establish()
    return Plan(
        places=places,
        ports=ports,
        foundation=foundation,
        accounts={role: wallet.address for role, wallet in wallets.items()},
        anvil=supplies.anvil,
        poco=supplies.poco,
        chain_id=options.chain_id,
        block_time=options.block_time,
        workers=options.workers,
        classic=options.classic,
        executor=options.executor,
    )


def _last_base(places: Places) -> int | None:
    """The ports of the last time, so that addresses written down somewhere stay good."""
    try:
        return int(places.ports.read_text())
    except (FileNotFoundError, ValueError):
        return None


def _market(plan: Plan, supervisor: Supervisor) -> Market:
    contracts = plan.foundation.contracts
    return Market(
        data=plan.places.root,
        chain_id=plan.chain_id,
        rpc_url=plan.rpc_url,
        ws_url=plan.ws_url,
        hub=contracts.hub,
        rlc=contracts.rlc,
        registries=Registries(
            app=contracts.app_registry,
            dataset=contracts.dataset_registry,
            workerpool=contracts.workerpool_registry,
        ),
        workerpool=plan.foundation.workerpool,
        scheduler_url=plan.scheduler_url,
        results_url=plan.results_url,
        registry_url=f"http://{plan.registry}",
        accounts=plan.accounts,
        keystores={role: plan.places.wallet(role) for role in plan.accounts},
        password_file=plan.places.password,
        orders=plan.places.orders,
        apps=plan.foundation.apps,
        pids=supervisor.pids,
        block_time=plan.block_time,
        explorer_url=plan.explorer_url,
    )
