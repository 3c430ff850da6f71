"""Many worlds, on every processor, in the order of their seeds."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")

CHUNK = 20
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


def voyage(
    fate: Callable[[Any], T],
    first: int,
    worlds: int,
    *,
    processes: int = 0,
    of: Sequence[Any] = (),
    chunk: int = CHUNK,
) -> Iterator[T]:
    """The fates of `worlds` worlds from seed `first` on, in order, or of what is given in `of`;
    `processes` at a time, 0 for one each processor, each `chunk` worlds at once. `fate` has to
    be found by its name in another process."""
    seeds = iter(of or range(first, first + worlds))
    many = processes or os.cpu_count() or 1
    if many == 1 or worlds <= chunk:
        yield from map(fate, seeds)
        return
    # Not forked: a caller may have threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(many, mp_context=context, initializer=_deaf) as pool:
        while batch := tuple(islice(seeds, chunk * many * 10)):
            try:
                yield from pool.map(fate, batch, chunksize=chunk)
            except BaseException:  # the caller has seen enough, or somebody pressed Ctrl-C
                pool.shutdown(cancel_futures=True)
                raise


def _deaf() -> None:
    """Ctrl-C is for the process that asked: it ends the others when they are done."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
