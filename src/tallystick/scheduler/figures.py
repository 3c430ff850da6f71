"""The figures of a pool: for people, for v9 readers, and for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import Depends, FastAPI, Request, Response
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tallystick import __version__
from tallystick.lifecycle.facts import Assigned, Began, Fact
from tallystick.lifecycle.replicate import OVER, Status
from tallystick.scheduler.routing import TEXT, Route, get, told
from tallystick.scheduler.vitals import Vitals
from tallystick.scheduler.window import TheWindow
from tallystick.wire import public as bodies

if TYPE_CHECKING:
    from tallystick.engine.journal import Entry
    from tallystick.scheduler.census import Census, Count
    from tallystick.scheduler.pool import Pool

_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Seconds. The goal is 0.05 for 99 of 100 at a thousand waiting workers."""
_EXPOSITION: Final = "text/plain; version=1.0.0; charset=utf-8"


class Pushes:
    """How fast work reaches the workers that wait for it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.assignments = 0
        """Since this process started."""
        self._ready: dict[str, float] = {}
        self._seconds = Histogram(
            "tally_push_seconds",
            "From the moment a task wants a worker, and one waits, to the worker's answer.",
            buckets=_BUCKETS,
            registry=registry,
        )

    def heard(self, entry: Entry[Fact]) -> None:
        """Note when a task last became ready for one more worker."""
        if isinstance(entry.fact, Assigned):
            self.assignments += 1
        elif not isinstance(entry.fact, Began):
            self._ready[entry.stream] = time.monotonic()

    def left(self, stream: str, asked: float) -> None:
        """A worker that asked at the instant `asked` (monotonic) is answered with a task."""
        ready = self._ready.get(stream, asked)
        self._seconds.observe(time.monotonic() - max(asked, ready))

    def forget(self, over: Iterable[str]) -> None:
        """Tasks that nobody will be given any more."""
        for stream in over:
            self._ready.pop(stream, None)


@dataclass(slots=True)
class Figures:
    """Everything that is counted about one pool."""

    pool: Pool
    vitals: Vitals
    census: Census
    pushes: Pushes = field(init=False)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        self.pushes = Pushes(self.registry)
        self.pool.engine.listen(self._heard)

    def _heard(self, entry: Entry[Fact]) -> None:
        self.pushes.heard(entry)
        task = self.pool.engine.states.get(entry.stream)
        if task is None or task.status.over:
            self.pushes.forget([entry.stream])

    async def exposition(self, deals: int) -> bytes:
        """What Prometheus reads."""
        now = CollectorRegistry()
        now.register(_Read([*_pool(await self.census.take(), deals), *self._machine()]))
        return generate_latest(now) + generate_latest(self.registry)

    def _machine(self) -> Iterator[Metric]:
        """Chain, wallet, journal and process. What nobody told is left out: it is not zero."""
        vitals, now = self.vitals, self.vitals.clock()
        if (head := vitals.head()) is not None:
            yield _gauge("chain_head", "The newest block that a node told of.", head.number)
            yield _gauge("chain_head_age_seconds", "By its timestamp.", vitals.head_age or 0)
            behind = max(0, head.number - vitals.followed())
            yield _gauge("chain_lag_blocks", "Blocks whose logs are not taken over.", behind)
        since = vitals.pending()
        yield _gauge("transactions_pending", "Sent, and not mined.", len(since))
        oldest = now - min(since, default=now)
        yield _gauge("transaction_oldest_seconds", "For which one has waited.", oldest)
        if (spent := vitals.gas_spent()) is not None:
            yield _counter("gas_spent_wei", "What our mined transactions cost.", spent)
        trouble = vitals.journal.trouble is not None
        yield _gauge("journal_trouble", "1 when the last write to the journal failed.", trouble)
        yield _gauge("ready", "1 when GET /ready says so.", not list(vitals.troubles()))
        yield _gauge("uptime_seconds", "Since this process started.", now - vitals.began)
        yield self._audits()
        made = self.pushes.assignments
        yield _counter("assignments", "Replicates given away since the start.", made)

    def _audits(self) -> Metric:
        audits = CounterMetricFamily(
            "tally_audits", "Results that others computed again.", labels=["outcome"]
        )
        for outcome in ("agreed", "differed", "missed"):
            audits.add_metric([outcome], self.pool.audits.outcomes[outcome])
        return audits


def _pool(count: Count, deals: int) -> Iterator[Metric]:
    info = GaugeMetricFamily("tally_scheduler_info", "Always 1.", labels=["version"])
    info.add_metric([__version__], 1)
    yield info
    tasks = GaugeMetricFamily("tally_tasks", "Tasks of this pool.", labels=["status"])
    for name, number in sorted(count.tasks.items()):
        tasks.add_metric([name], number)
    yield tasks
    held = GaugeMetricFamily("tally_replicates", "Of open tasks, not over.", labels=["status"])
    for status in Status:
        if status not in OVER:
            held.add_metric([status.name.lower()], count.replicates[status])
    yield held
    yield _gauge("deals", "Deals with this pool.", deals)
    yield _gauge("workers", "Workers that ever registered.", count.workers)
    yield _gauge("workers_alive", "Workers that were heard lately.", count.alive)
    yield _gauge("slots", "Replicates that those alive compute at a time.", count.slots)
    yield _gauge("slots_busy", "Slots in use.", count.slots_busy)


class _Read(Collector):
    """What was read already."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(f"tally_{name}", meaning, value=float(value))


def _counter(name: str, meaning: str, value: float) -> Metric:
    return CounterMetricFamily(f"tally_{name}", meaning, value=float(value))


async def the_figures(request: Request) -> Figures:
    """What is counted."""
    figures: Figures = request.app.state.figures
    return figures


TheFigures = Annotated[Figures, Depends(the_figures)]


def attach(app: FastAPI) -> None:
    """Add these routes to `app`."""
    get("/pool", bodies.PoolFigures, tag="pool").add(app, _of_the_pool)
    get("/metrics", bodies.PoolMetrics, tag="operation").add(app, _metrics)
    Route(verb="GET", path="/prometheus", answers={200: TEXT}, tag="operation").add(
        app, _prometheus
    )


async def _of_the_pool(window: TheWindow, figures: TheFigures, request: Request) -> Response:
    """What this pool is, and how it does."""
    pool, count = window.pool, await figures.census.take()
    head = figures.vitals.followed()
    found: dict[str, Any] = {
        "name": request.app.state.dashboard.config.name,
        "workerpool": str(window.workerpool),
        "scheduler": str(pool.wallet.address),
        "chainId": window.chain_id,
        "hub": str(pool.hub.address),
        "version": __version__,
        "head": head or None,
        "workers": count.workers,
        "workersAlive": count.alive,
        "slots": count.slots,
        "slotsBusy": count.slots_busy,
        "deals": len(window.deals()),
        "tasks": count.tasks,
        "assignments": figures.pushes.assignments,
    }
    return told(found)


async def _metrics(window: TheWindow, figures: TheFigures) -> Response:
    """The pool's figures, as v9 schedulers publish them."""
    count = await figures.census.take()
    return told(
        {
            "aliveWorkers": count.alive,
            "aliveComputingCpu": count.slots_busy,
            "aliveRegisteredCpu": count.slots,
            "aliveComputingGpu": 0,
            "aliveRegisteredGpu": 0,
            "currentTaskStatusesCount": count.tasks,
            "dealsCount": len(window.deals()),
        }
    )


async def _prometheus(window: TheWindow, figures: TheFigures) -> Response:
    """The same and more for Prometheus: of tasks, workers, pushes, chain, gas and journal."""
    text = await figures.exposition(len(window.deals()))
    return Response(text, media_type=_EXPOSITION)
