"""Many worlds, on every processor, in the order of their seeds."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

T = TypeVar("T")

CHUNK = 20
"""Worlds that a process lives through before it tells of them."""

_PR_SET_PDEATHSIG = 1


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
    others = multiprocessing.active_children()
    with ProcessPoolExecutor(many, mp_context=context, initializer=_obey) as pool:
        while batch := tuple(islice(seeds, chunk * many * 10)):
            try:
                yield from pool.map(fate, batch, chunksize=chunk)
            except BaseException:  # the caller has seen enough, or somebody pressed Ctrl-C
                _end(set(multiprocessing.active_children()).difference(others))
                pool.shutdown(cancel_futures=True)
                raise


def _end(processes: Iterable[BaseProcess]) -> None:
    """End them in the middle of their worlds: a chunk of them may take minutes more."""
    for each in processes:
        each.kill()


def _obey() -> None:
    """Ctrl-C is for the process that asked: it ends the others. They end with it, too, when it
    is killed: Linux then sends them a signal."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
