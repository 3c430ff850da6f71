"""What Prometheus is told: read when it asks, from what the worker knows anyway."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from anyio import from_thread, to_thread
from anyio.lowlevel import current_token
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from tallystick import __version__
from tallystick.chain.spent import fees
from tallystick.engine.errors import Refused
from tallystick.engine.journal import Entry, Journal
from tallystick.lifecycle.facts import Began, Fact, Step
from tallystick.lifecycle.pool import busy_slots, replicates_of
from tallystick.lifecycle.replicate import OVER, Status
from tallystick.lifecycle.task import Task
from tallystick.poco.values import Address
from tallystick.worker.earnings import SETTLED, settled
from tallystick.worker.metrics_port import LOOPBACK, listen

if TYPE_CHECKING:
    from tallystick.worker.parts import Parts

__all__ = ["LOOPBACK", "NoMetrics", "Steps", "families", "serving"]


class NoMetrics(Refused):
    """The port for metrics cannot be had."""


@dataclass(slots=True)
class Steps:
    """How long our steps took, from the facts of the journal; each fact is read once."""

    me: Address
    journal: Journal[Fact]
    seconds: Counter[Step] = field(default_factory=Counter[Step])
    times: Counter[Step] = field(default_factory=Counter[Step])
    _read: int = 0
    _began: dict[str, tuple[Step, float]] = field(default_factory=dict[str, tuple[Step, float]])

    def catch_up(self) -> None:
        """Take in what was recorded since the last time."""
        for entry in self.journal.read(self._read):
            self._read = entry.seq
            if getattr(entry.fact, "worker", None) == self.me:
                self._take(entry)

    def _take(self, entry: Entry[Fact]) -> None:
        begun = self._began.pop(entry.stream, None)
        if begun is not None:
            step, at = begun
            self.seconds[step] += max(0.0, entry.at - at)  # type: ignore[assignment] # seconds
            self.times[step] += 1
        if isinstance(entry.fact, Began):
            self._began[entry.stream] = entry.fact.step, entry.at


def families(parts: Parts, steps: Steps, now: float) -> Iterator[Metric]:
    """Every metric of a worker; `now` is this machine's clock, in seconds since the epoch."""
    session, tasks = parts.session, list(parts.engine.states.values())
    info = GaugeMetricFamily(
        "tally_worker_info", "Always 1.", labels=["name", "wallet", "version"]
    )
    info.add_metric([session.config.name, str(session.me), __version__], 1)
    yield info
    yield from _work(session.me, tasks)
    yield _gauge("slots", "Replicates that may be computed at a time.", session.config.slots)
    yield _gauge("slots_busy", "Slots in use.", busy_slots(session.me, tasks))
    yield _gauge(
        "asking", "Whether the scheduler is asked for work.", session.why_idle() is None
    )
    yield from _money(parts)
    yield from _contact(parts, now)
    yield _durations(steps)


def _work(me: Address, tasks: Iterable[Task]) -> Iterator[Metric]:
    mine = list(replicates_of(me, tasks))
    present = Counter(replicate.status for replicate in mine if replicate.status not in OVER)
    held = GaugeMetricFamily(
        "tally_replicates", "Replicates that are not over.", labels=["status"]
    )
    for status in Status:
        if status not in OVER:
            held.add_metric([_label(status)], present[status])
    yield held
    ends = Counter((r.status, r.cause or "") for r in mine if r.status in OVER)
    ended = CounterMetricFamily(
        "tally_replicates_ended", "Replicates that are over.", labels=["status", "cause"]
    )
    for (status, cause), count in sorted(ends.items()):
        ended.add_metric([_label(status), cause], count)
    yield ended


def _money(parts: Parts) -> Iterator[Metric]:
    """What nobody told is left out: it is not zero."""
    known, journal = parts.money.funds.known, parts.session.journal
    if known.account is not None:
        yield _gauge("deposit_nrlc", "RLC in the hub that is free.", known.account.stake)
        yield _gauge("stake_locked_nrlc", "RLC in the hub on votes.", known.account.locked)
    if known.balance is not None:
        yield _gauge("wallet_wei", "What pays for gas.", known.balance)
    cap = parts.session.config.gas_price_cap
    yield _gauge("gas_price_cap_wei", "What is paid at most for gas.", cap)
    if known.gas_price is not None:
        yield _gauge("network_gas_price_wei", "What the chain asks.", known.gas_price)
    ends = [end for text in journal.notes(SETTLED).values() if (end := settled(text))]
    yield _counter("earned_nrlc", "Rewards.", sum(end.reward for end in ends))
    yield _counter("lost_nrlc", "Stake that was taken.", sum(end.lost for end in ends))
    spent = sum(fee.wei for fee in fees(parts.session.config.home / "transactions.db"))
    yield _counter("gas_spent_wei", "What our mined transactions cost.", spent)


def _contact(parts: Parts, now: float) -> Iterator[Metric]:
    contact = parts.session.contact
    heard = contact.heard_at or contact.began
    yield _gauge("last_ping_age_seconds", "Since the scheduler answered.", now - heard)
    told = "How often the scheduler could not be talked to."
    yield _counter("scheduler_failures", told, contact.failures)
    yield _gauge("uptime_seconds", "Since this worker started.", now - contact.began)


def _durations(steps: Steps) -> Metric:
    steps.catch_up()
    told = SummaryMetricFamily(
        "tally_step_seconds", "How long steps took, failed ones too.", labels=["step"]
    )
    for step in Step:
        told.add_metric(
            [_label(step)], count_value=steps.times[step], sum_value=steps.seconds[step]
        )
    return told


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(f"tally_{name}", meaning, value=float(value))


def _counter(name: str, meaning: str, value: float) -> Metric:
    return CounterMetricFamily(f"tally_{name}", meaning, value=float(value))


def _label(member: Status | Step) -> str:
    return member.name.lower()


class _Worker(Collector):
    """Asked in a thread of the server, answers in the worker's own: nobody else reads there."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._steps = Steps(parts.session.me, parts.session.journal)
        self._loop = current_token()

    def collect(self) -> Iterable[Metric]:
        return from_thread.run_sync(self._read, token=self._loop)

    def describe(self) -> Iterable[Metric]:
        return ()

    def _read(self) -> list[Metric]:
        return list(families(self._parts, self._steps, time.time()))


@asynccontextmanager
async def serving(parts: Parts, port: int) -> AsyncIterator[int]:
    """Answer `http://127.0.0.1:PORT/metrics` as long as the block runs. Raises NoMetrics."""
    registry = CollectorRegistry()
    registry.register(_Worker(parts))
    try:
        server, thread = listen(port, registry)
    except OSError as problem:
        raise NoMetrics(
            f"metrics_port {port} on the loopback cannot be had: {problem.strerror}. Name"
            " another one."
        ) from problem
    try:
        yield server.server_port
    finally:
        await to_thread.run_sync(_stop, server, thread, abandon_on_cancel=False)


def _stop(server: Any, thread: Any) -> None:
    server.shutdown()
    server.server_close()
    thread.join()
