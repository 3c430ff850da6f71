"""What a registered worker costs while it has nothing to do, and how long its start takes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import IO, Any

from anyio import to_thread

from tallystick.bench.report import Options, Report, Row
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

_RUNS = 3
_WINDOW = 60.0
"""Seconds over which processor time is counted: a few signs of life and a few demands."""
_SETTLE = 3.0
"""Seconds after the start before anything is counted."""
_MIB = 1 << 20
_SPLIT = re.compile(r"Started within ([0-9.]+) s of the process: (.*)")
_PART = re.compile(r"([a-z ]+) ([0-9.]+) s")
_SET = "Cool, your iexec-worker is all set!"


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


async def run(options: Options, window: float = _WINDOW) -> Report:
    """Start real workers before a real market, with a wallet as strong as everybody's."""
    wanted = MarketOptions(data=options.work / "market", workers=1, block_time=1)
    async with running(wanted, _silent, _without_workers) as market:
        places = Places(market.data)
        await to_thread.run_sync(_strengthen, places)
        samples = [
            await to_thread.run_sync(_sample, places.config("worker-1"), window)
            for _ in range(options.repeat or _RUNS)
        ]
    return Report(bench=NAME, rows=tuple(_rows(samples)), notes=_notes(samples, window))


def _silent(sentence: str) -> None:
    """The market's sentences are not part of the report."""


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


def _sample(config: Path, window: float) -> Sample:
    with _worker(config) as process:
        began = time.monotonic()
        assert process.stderr is not None
        parts, start = _until_set(process.stderr, began)
        time.sleep(_SETTLE)
        before = _ticks(process.pid)
        time.sleep(window)
        used = (_ticks(process.pid) - before) / os.sysconf("SC_CLK_TCK")
        return Sample(
            start=start,
            parts=parts,
            resident=_kib(process.pid, "status", "VmRSS") / 1024,
            private=_kib(process.pid, "smaps_rollup", "Private_Dirty") / 1024,
            peak=_kib(process.pid, "status", "VmHWM") / 1024,
            cpu=100 * used / window,
        )


@contextmanager
def _worker(config: Path) -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, "-m", "tallystick", "worker", "start", "--config", str(config)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


def _until_set(log: IO[str], began: float) -> tuple[dict[str, float], float]:
    """The parts that the worker tells of, and seconds to the line that users wait for."""
    parts: dict[str, float] = {}
    lines = []
    for line in log:
        lines.append(line)
        if found := _SPLIT.search(line):
            parts = {name.strip(): float(spent) for name, spent in _PART.findall(found[2])}
        if _SET in line:
            return parts, time.monotonic() - began
    raise RuntimeError(f"The worker ended instead of starting: {''.join(lines)[-2000:]}")


def _ticks(pid: int) -> int:
    """Processor time of all threads, user's and kernel's."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _kib(pid: int, file: str, name: str) -> int:
    text = Path(f"/proc/{pid}/{file}").read_text()
    return int(text.split(f"{name}:", 1)[1].split()[0])


def _rows(samples: list[Sample]) -> Iterator[Row]:
    resident = median(sample.resident for sample in samples)
    yield _row("resident memory, idle", resident, "MiB", MEMORY)
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
    yield _row("processor, share of a core", median(s.cpu for s in samples), "%", CPU)
    yield _row("start to all set", median(s.start for s in samples), "s", START)
    for part in samples[0].parts:
        figure = median(sample.parts.get(part, 0.0) for sample in samples)
        yield Row(what=f"  {part}", figure=figure, unit="s")


def _row(what: str, figure: float, unit: str, limit: float) -> Row:
    return Row(what=what, figure=figure, unit=unit, reference=limit, against="our promise")


def _notes(samples: list[Sample], window: float) -> tuple[str, ...]:
    return (
        f"{len(samples)} starts of a worker with its own journal, before a market with 1 s"
        f" blocks; processor time over {window:g} s.",
        "The wallet is locked as hard as usual (scrypt with n = 262144, 256 MiB): most of the"
        " peak, which is given back.",
        "The wallet is opened, a container is run and the scheduler is asked side by side.",
    )
