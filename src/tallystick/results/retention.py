"""Deleting results that are old or too many, but none that a task may still need."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import anyio

from tallystick.chain.hub import Hub
from tallystick.engine.errors import Unavailable
from tallystick.poco.values import Instant
from tallystick.results.config import ResultsConfig
from tallystick.results.judge import Judge
from tallystick.results.store import Store, Stored

log = logging.getLogger(__name__)

_DAY: Final = 86_400
_PERIOD: Final = 600.0
"""Seconds between two looks."""


def excess(
    oldest_first: list[Stored], total: int, config: ResultsConfig, now: float
) -> list[Stored]:
    """Which of the results that may go have to: the old ones, then the oldest until all fit."""
    leaving = []
    for stored in oldest_first:
        too_old = now - stored.uploaded > config.keep_days * _DAY
        if not too_old and total <= config.keep_bytes:
            break
        leaving.append(stored)
        total -= stored.size
    return leaving


def tidy(
    store: Store,
    config: ResultsConfig,
    chain_time: Instant,
    clock: Callable[[], float] = time.time,
) -> int:
    """Delete what has to go at `chain_time`; returns how many results. Blocks."""
    leaving = excess(store.oldest(past=chain_time), store.total(), config, clock())
    for stored in leaving:
        store.remove(stored)
    return len(leaving)


async def _decide(store: Store, judge: Judge) -> None:
    """What was brought before a vote becomes a result, or goes."""
    for task in await anyio.to_thread.run_sync(store.undecided):
        with suppress(Unavailable):
            await judge.decide(store, task)


async def keep_tidy(store: Store, config: ResultsConfig, hub: Hub) -> None:
    """Tidy up now and every ten minutes. While no node tells the time, nothing is deleted."""
    judge = Judge(hub, config)
    await anyio.to_thread.run_sync(store.sweep)
    while True:
        try:
            now = (await hub.head()).timestamp
        except Unavailable as trouble:
            log.warning("Nothing is deleted: the chain's time is unknown (%s)", trouble)
        else:
            await _decide(store, judge)
            gone = await anyio.to_thread.run_sync(tidy, store, config, now)
            log.info("Retention deleted %d results.", gone)
        await anyio.sleep(_PERIOD)
