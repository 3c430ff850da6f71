"""A real scheduler under load: a chain, a pool that was given its past, and its process."""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, get_args
from urllib.request import urlopen

import anyio
from anyio import to_thread

from tallystick.bench.load import processor_time
from tallystick.bench.report import Options, silent
from tallystick.devnet.console import Console
from tallystick.devnet.market import MarketOptions, running
from tallystick.devnet.places import Places
from tallystick.devnet.postgres import Server, why_not
from tallystick.devnet.services import Plan, services
from tallystick.devnet.supervise import Service
from tallystick.engine.databases import with_postgres
from tallystick.engine.journal import Journal
from tallystick.engine.keeping import Keeping
from tallystick.engine.settings import load
from tallystick.lifecycle.facts import Assigned, Fact, Initialized, Ordered
from tallystick.poco.deal import Asset, Deal
from tallystick.poco.values import Address, DealId
from tallystick.scheduler.config import SchedulerConfig
from tallystick.wire.auth import Tokens, key_file
from tallystick.wire.scheduler import WorkerModel

SIZES = (100, 1_000, 10_000)
"""How cost grows is shown at these."""
QUICK = (20,)
"""To see that it runs."""
FILES, SERVER = "SQLite", "PostgreSQL"
"""Where a pool keeps its books."""

_BAG = 100
"""Tasks of a deal."""
_UNIT = 36_000
"""Seconds of the category: no deadline is near."""
_ETHER = 10**18
_GRACE = 60.0
"""Seconds that a scheduler may take to be ready before it counts as broken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """A chain, and the settings of a pool that is not running yet."""

    config: SchedulerConfig
    settings: Path
    chain: str
    """The node's URL."""
    database: str = ""
    """Of a PostgreSQL server; empty: the pool keeps its books in files."""

    def workers(self, count: int) -> list[Address]:
        """So many wallets with gas, registered with the pool."""
        wallets = [Address(secrets.token_bytes(20)) for _ in range(count)]
        with Console(self.chain) as console:
            for start in range(0, count, 500):
                console.batch(
                    [
                        ("anvil_setBalance", (str(wallet), hex(_ETHER)))
                        for wallet in wallets[start : start + 500]
                    ]
                )
        model = WorkerModel(name="load", cpu_nb=1 << 20)
        with self.journal() as journal, journal.together():
            for wallet in wallets:
                told = model.model_copy(update={"wallet_address": wallet})
                journal.note(f"instance {wallet}", "")
                journal.note(f"worker {wallet}", told.model_dump_json(by_alias=True))
        if self.database:
            self._enrol(wallets, model)
        return wallets

    def tokens(self, wallets: Iterable[Address]) -> list[str]:
        """What the wallets show to the pool: as if each had logged in."""
        key = self._token_key()
        issuer = Tokens(key, pool=self.config.workerpool)
        return [issuer.issue(wallet) for wallet in wallets]

    def tasks(self, count: int, *, holder: Address | None = None) -> None:
        """So many open tasks, in deals of a hundred; held by a worker, if one is named."""
        with Console(self.chain) as console:
            head = console.call("eth_getBlockByNumber", "latest", False)
        start = int(head["timestamp"], 16)
        with self.journal() as journal, journal.together():
            for first in range(0, count, _BAG):
                deal = self._deal(start, min(_BAG, count - first))
                for index in deal.indices:
                    stream = str(deal.task_id(index))
                    journal.append(stream, Ordered(deal, index), at=start)
                    journal.append(stream, Initialized(), at=start)
                    if holder is not None:
                        journal.append(stream, Assigned(holder, 2), at=start)

    def _enrol(self, wallets: list[Address], model: WorkerModel) -> None:
        """In the table by which the processes of a pool tell each other who lives."""
        link = with_postgres("tallystick.engine.postgres_link").Link(self.database)
        link.rows(
            "INSERT INTO worker (wallet, slots, body) SELECT unnest(%s::text[]), %s, %s",
            ([str(wallet) for wallet in wallets], model.slots, model.model_dump_json()),
        )
        link.close()

    def _opened(self) -> Keeping[Fact]:
        if not self.database:
            return Journal[Fact](self.config.data_dir / "journal.db", get_args(Fact))
        module = with_postgres("tallystick.engine.postgres")
        opened: Keeping[Fact] = module.PostgresJournal(self.database, get_args(Fact))
        return opened

    def _token_key(self) -> bytes:
        if not self.database:
            return key_file(self.config.data_dir / "token.key")
        link = with_postgres("tallystick.engine.postgres_link").Link(self.database)
        module = with_postgres("tallystick.scheduler.shared.keys")
        key: bytes = module.shared_secret(link, module.TOKEN_KEY)
        link.close()
        return key

    def _deal(self, start: int, size: int) -> Deal:
        return Deal(
            DealId(secrets.token_bytes(32)),
            start=start,
            time_unit=_UNIT,
            trust=1,
            bot_size=size,
            workerpool=Asset(self.config.workerpool, price=10),
        )

    @contextmanager
    def journal(self) -> Iterator[Keeping[Fact]]:
        """What the pool remembers; not while it runs."""
        self.config.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = self._opened()
        try:
            yield found
        finally:
            found.close()


@dataclass(slots=True)
class Running:
    """The process of a scheduler."""

    process: subprocess.Popen[bytes]
    port: int
    ready: float
    """Seconds from its start to its first answer."""

    @property
    def cpu(self) -> float:
        """Seconds of processor time so far, of all threads."""
        return processor_time(self.process.pid)

    @property
    def resident(self) -> float:
        """MiB."""
        told = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(told.split("VmRSS:", 1)[1].split()[0]) / 1024


@asynccontextmanager
async def lab(folder: Path, store: str = FILES) -> AsyncIterator[Lab]:
    """A market's chain with 1 s blocks, without scheduler and workers; with a server for the
    books of the pool, where it keeps them on one."""
    wanted = MarketOptions(data=folder / "market", workers=1, block_time=1)
    with _server() if store == SERVER else nullcontext("") as database:
        async with running(wanted, silent, _the_chain) as market:
            settings = Places(market.data).config("scheduler")
            config = load(settings, SchedulerConfig)
            yield Lab(
                config=config, settings=settings, chain=config.rpc_urls[0], database=database
            )


@contextmanager
def _server() -> Iterator[str]:
    """The URL of a database with the tables of a pool, on a server of its own."""
    with Server() as running_server:
        yield running_server.ready_database()


def _the_chain(plan: Plan, console: Any, memory: Any) -> list[Service]:
    """The settings of the others are written all the same."""
    mine = ("scheduler", "worker-")
    return [s for s in services(plan, console, memory) if not s.name.startswith(mine)]


@contextmanager
def scheduler(place: Lab) -> Iterator[Running]:
    """The pool's scheduler, ready; killed in the end."""
    words = [sys.executable, "-m", "tallystick", "scheduler", "start"]
    words += ["--database", place.database] if place.database else []
    began = time.monotonic()
    log = place.config.data_dir / "bench.log"
    with (
        log.open("ab") as out,
        subprocess.Popen([*words, "--config", str(place.settings)], stderr=out) as process,
    ):
        try:
            ready = _until_ready(process, place.config.port, began, log)
            yield Running(process, place.config.port, ready)
        finally:
            process.send_signal(signal.SIGKILL)


def _until_ready(process: subprocess.Popen[bytes], port: int, began: float, log: Path) -> float:
    while time.monotonic() - began < _GRACE and process.poll() is None:
        try:
            with urlopen(f"http://127.0.0.1:{port}/version", timeout=_GRACE):
                return time.monotonic() - began
        except OSError:
            time.sleep(0.01)
    raise RuntimeError(f"The scheduler is not ready: {log.read_text()[-2000:]}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the load generator measured, and what it cost the scheduler."""

    seconds: float
    times: list[float]
    """Seconds that each answer took."""
    late: list[float]
    """Seconds that each request left later than it was due."""
    troubles: int
    """Answers that were not as they should be."""
    cpu: float
    """Seconds of processor time of the scheduler while answers were timed."""
    whole_cpu: float
    """The same, from its start on."""
    resident: float
    """MiB of the scheduler in the end."""


async def loaded(place: Lab, workers: int, job: dict[str, Any]) -> Found:
    """Start the pool's scheduler before so many more workers, and have the job done by them."""
    tokens = place.tokens(await aside(place.workers, workers))
    with scheduler(place) as running:
        before = running.cpu
        found = await measure(job | {"tokens": tokens}, running)
        return Found(**found, whole_cpu=running.cpu - before, resident=running.resident)


async def measure(job: dict[str, Any], running: Running) -> dict[str, Any]:
    """What the load generator, another process, measured."""
    whole = job | {"port": running.port, "process": running.process.pid}
    with NamedTemporaryFile("r", prefix="tally-load-") as told:
        command = [sys.executable, "-m", "tallystick.bench.load", told.name]
        done = await anyio.run_process(command, input=json.dumps(whole).encode(), check=False)
        if done.returncode:
            said = done.stderr.decode(errors="replace")[-2000:]
            raise RuntimeError(f"The load generator failed: {said}")
        found: dict[str, Any] = json.load(told)
    return found


def sizes(options: Options, only: tuple[int, ...] = ()) -> tuple[int, ...]:
    """The sizes to measure: those named, or all, or a small one to see that it runs."""
    return only or (QUICK if options.quick else SIZES)


def stores() -> tuple[str, ...]:
    """Where a pool can keep its books on this machine."""
    return (FILES,) if why_not() else (FILES, SERVER)


def percentile(times: list[float], part: float) -> float:
    """The value below which `part` of `times` lie, in milliseconds for seconds."""
    ranked = sorted(times)
    return 1000 * ranked[min(len(ranked) - 1, int(part * len(ranked)))]


async def aside(work: Any, *args: Any) -> Any:
    """Do what blocks in a thread, since the market lives in this loop."""
    return await to_thread.run_sync(work, *args)
