"""Many worlds, on every processor, in the order of their seeds."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice

from tallystick.sim.invariants import Broken
from tallystick.sim.odds import Plan
from tallystick.sim.scenarios import live, random_plan
from tallystick.sim.shrink import shrink

_CHUNK = 20
"""Worlds that a process lives through before it tells of them."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one world."""

    seed: int
    seconds: int
    """Of virtual time."""
    completed: int
    failed: int
    broken: str = ""
    """The promise that was not kept, with the world's story."""


def fate(seed: int) -> Fate:
    """Live the random world of `seed`."""
    return _fate(random_plan(seed))


def _fate(plan: Plan) -> Fate:
    try:
        world = live(plan)
    except Broken as broken:
        return Fate(plan.seed, 0, 0, 0, broken=str(broken))
    statuses = [str(task.status) for task in world.scheduler.tasks]
    return Fate(plan.seed, world.now, statuses.count("completed"), statuses.count("failed"))


def voyage(first: int, worlds: int, *, processes: int = 0) -> Iterator[Fate]:
    """The fates of `worlds` random worlds from seed `first` on, in order; `processes` at a
    time, 0 for one each processor."""
    seeds = iter(range(first, first + worlds))
    many = processes or os.cpu_count() or 1
    if many == 1 or worlds <= _CHUNK:
        yield from map(fate, seeds)
        return
    # Not forked: a caller may have threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(many, mp_context=context) as pool:
        while batch := tuple(islice(seeds, _CHUNK * many * 10)):
            try:
                yield from pool.map(fate, batch, chunksize=_CHUNK)
            except GeneratorExit:
                pool.shutdown(cancel_futures=True)
                raise


def smallest(seed: int, *, tries: int = 300) -> tuple[Plan, str]:
    """The broken world of `seed` made as small as can be, and its story."""
    plan = shrink(random_plan(seed), lambda smaller: bool(_fate(smaller).broken), tries=tries)
    return plan, _fate(plan).broken
