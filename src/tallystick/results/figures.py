"""The figures of a result store for Prometheus: a handful, so its format is written out here
rather than a library loaded."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from tallystick import __version__
from tallystick.results.store import Store

EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"


def exposition(store: Store) -> str:
    """What Prometheus reads. Blocks briefly."""
    return "".join(f"{line}\n" for line in _lines(store))


def _lines(store: Store) -> Iterator[str]:
    info = f'{{version="{__version__}"}}'
    kept, early = store.counts()
    yield from _gauge("results_info", "Always 1.", 1, info)
    yield from _gauge("results", "Results that are kept.", kept)
    yield from _gauge("results_early", "Results whose vote is not known yet.", early)
    yield from _gauge("results_bytes", "Bytes of all of them.", store.total())
    free = shutil.disk_usage(store.folder).free
    yield from _gauge("results_disk_free_bytes", "Bytes free where they lie.", free)


def _gauge(name: str, meaning: str, value: int, labels: str = "") -> Iterator[str]:
    yield f"# HELP tally_{name} {meaning}"
    yield f"# TYPE tally_{name} gauge"
    yield f"tally_{name}{labels} {value}"
