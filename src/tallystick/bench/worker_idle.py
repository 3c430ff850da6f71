"""What a registered worker costs while it has nothing to do, and how long its start takes."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from subprocess import DEVNULL, PIPE
from typing import Any

import anyio
from anyio import to_thread
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

from tallystick.bench import others
from tallystick.bench.report import Options, Report, Row, promised, silent
from tallystick.chain import keystore
from tallystick.chain.wallet import STANDARD, Wallet
from tallystick.devnet.market import MarketOptions, running
from tallystick.devnet.places import Places, password_in
from tallystick.devnet.services import Plan, services
from tallystick.devnet.supervise import Service

NAME = "worker-idle"
SUMMARY = "memory, processor time and start of a registered worker that has nothing to do"

MEMORY, AMBITION, CPU, START = 70.0, 50.0, 0.2, 2.5
"""What we promise: MiB resident, better so many; percent of a core; seconds."""

_RUNS = 2
_WINDOW, _QUICK_WINDOW = 25.0, 3.0
"""Seconds over which processor time is counted: a few signs of life and a few demands."""
_SETTLE = 3.0
"""Seconds after the start before anything is counted."""
_MIB = 1 << 20
_SPLIT = re.compile(r"Started within ([0-9.]+) s of the process: (.*)")
_PART = re.compile(r"([a-z ]+) ([0-9.]+) s")
_SET = "Cool, your iexec-worker is all set!"


class WorkerEnded(Exception):
    """The worker that was to be measured is gone; the sentence repeats what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One worker, from its start to its end."""

    start: float
    """Seconds from the start of the process to "all set"."""
    parts: dict[str, float]
    """Which of them went where: some parts run side by side."""
    resident: float
    """MiB when it is idle."""
    private: float
    """MiB of these that no other process shares."""
    peak: float
    """MiB at most, which is while the wallet is opened."""
    cpu: float
    """Percent of a core."""


async def run(options: Options, window: float = 0.0) -> Report:
    """Start real workers before a real market, with a wallet as strong as everybody's."""
    window = window or (_QUICK_WINDOW if options.quick else _WINDOW)
    wanted = MarketOptions(data=options.work / "market", workers=1, block_time=1)
    async with running(wanted, silent, _without_workers) as market:
        places = Places(market.data)
        await to_thread.run_sync(_strengthen, places)
        samples = [
            await _sample(places.config("worker-1"), window)
            for _ in range(options.samples(_RUNS))
        ]
    boinc = await to_thread.run_sync(_boinc, options.work / "boinc", window)
    rows = (*_rows(samples), *_beside(samples, boinc))
    return Report(bench=NAME, rows=rows, notes=_notes(samples, window))


def _boinc(folder: Path, window: float) -> tuple[float, float] | str:
    """MiB and percent of a core of another network's client, or why they are not known."""
    try:
        return others.boinc_idle(folder, window / 2)
    except others.NotHere as reason:
        return str(reason)


def _beside(samples: list[Sample], boinc: tuple[float, float] | str) -> Iterator[Row]:
    if isinstance(boinc, str):
        what = "the BOINC client, idle: resident memory, processor"
        yield Row(what=what, figure=None, unit="", against=boinc)
        return
    memory, cpu = boinc
    yield Row(
        what="resident memory, idle",
        figure=median(sample.resident for sample in samples),
        unit="MiB",
        reference=memory,
        against="the BOINC client without a project",
    )
    yield Row(what="the BOINC client, processor", figure=cpu, unit="%")


def _without_workers(plan: Plan, console: Any, memory: Any) -> list[Service]:
    """Their settings are written all the same."""
    return [s for s in services(plan, console, memory) if not s.name.startswith("worker-")]


def _strengthen(places: Places) -> None:
    """Lock the worker's key as wallets usually are: those of a local market open at once."""
    path, password = places.wallet("worker-1"), password_in(places.password)
    strong = path.with_suffix(".strong")
    key = keystore.unlock(path, password)
    Wallet.import_key(strong, password, key, work=STANDARD)
    strong.replace(path)


async def _sample(config: Path, window: float) -> Sample:
    async with _worker(config) as process:
        began = time.monotonic()
        parts, start = await _until_set(process, began)
        await anyio.sleep(_SETTLE)
        before = _ticks(process.pid)
        await anyio.sleep(window)
        used = (_ticks(process.pid) - before) / os.sysconf("SC_CLK_TCK")
        return Sample(
            start=start,
            parts=parts,
            resident=_kib(process.pid, "status", "VmRSS") / 1024,
            private=_kib(process.pid, "smaps_rollup", "Private_Dirty") / 1024,
            peak=_kib(process.pid, "status", "VmHWM") / 1024,
            cpu=100 * used / window,
        )


@asynccontextmanager
async def _worker(config: Path) -> AsyncIterator[Process]:
    words = [sys.executable, "-m", "tallystick", "worker", "start", "--config", str(config)]
    process = await anyio.open_process(words, stdout=DEVNULL, stderr=PIPE)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        with anyio.CancelScope(shield=True):
            await process.aclose()


async def _until_set(process: Process, began: float) -> tuple[dict[str, float], float]:
    """The parts that the worker tells of, and seconds to the line that users wait for."""
    log = ""
    assert process.stderr is not None
    async for piece in TextReceiveStream(process.stderr, errors="replace"):
        log += piece
        if _SET in log and (found := _SPLIT.search(log)) is not None:
            parts = {name.strip(): float(spent) for name, spent in _PART.findall(found[2])}
            return parts, time.monotonic() - began
    raise WorkerEnded(f"The worker ended instead of starting. It said last: {log[-2000:]}")


def _ticks(pid: int) -> int:
    """Processor time of all threads, user's and kernel's. Raises WorkerEnded."""
    fields = _told(pid, "stat").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _kib(pid: int, file: str, name: str) -> int:
    _, found, rest = _told(pid, file).partition(f"{name}:")
    if not found:
        raise WorkerEnded("The worker ended while it was measured.")
    return int(rest.split()[0])


def _told(pid: int, file: str) -> str:
    try:
        return Path(f"/proc/{pid}/{file}").read_text()
    except (FileNotFoundError, ProcessLookupError) as gone:
        raise WorkerEnded("The worker ended while it was measured.") from gone


def _rows(samples: list[Sample]) -> Iterator[Row]:
    resident = median(sample.resident for sample in samples)
    yield promised("resident memory, idle", resident, "MiB", MEMORY)
    yield Row(
        what="resident memory, idle",
        figure=resident,
        unit="MiB",
        reference=AMBITION,
        against="our ambition",
    )
    private = median(sample.private for sample in samples)
    yield Row(what="  of these not shared", figure=private, unit="MiB")
    peak = median(sample.peak for sample in samples)
    yield Row(what="peak, while the wallet is opened", figure=peak, unit="MiB")
    yield promised("processor, share of a core", median(s.cpu for s in samples), "%", CPU)
    yield promised("start to all set", median(s.start for s in samples), "s", START)
    for part in samples[0].parts:
        figure = median(sample.parts.get(part, 0.0) for sample in samples)
        yield Row(what=f"  {part}", figure=figure, unit="s")


def _notes(samples: list[Sample], window: float) -> tuple[str, ...]:
    return (
        f"{len(samples)} starts of a worker with its own journal, before a market with 1 s"
        f" blocks; processor time over {window:g} s.",
        "The wallet is locked as hard as usual (scrypt with n = 262144, 256 MiB): most of the"
        " peak, which is given back.",
        "The wallet is opened, a container is run and the scheduler is asked side by side.",
    )
