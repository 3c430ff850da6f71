"""Finding the benchmarks that are there."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pkgutil import iter_modules

from tallystick import bench
from tallystick.bench.report import Bench


class NoSuchBench(Exception):
    """There is no benchmark of this name; the sentence lists those that exist."""


def all_benches() -> tuple[Bench, ...]:
    """Every benchmark of this package, by name."""
    modules = (
        import_module(f"{bench.__name__}.{m.name}") for m in iter_modules(bench.__path__)
    )
    found = (
        Bench(name=module.NAME, summary=module.SUMMARY, run=module.run)
        for module in modules
        if hasattr(module, "NAME")
    )
    return tuple(sorted(found, key=lambda b: b.name))


def chosen_benches(names: Iterable[str]) -> tuple[Bench, ...]:
    """The benchmarks called `names`, in that order; all when none is named.

    Raises NoSuchBench.
    """
    known = {each.name: each for each in all_benches()}
    wanted = tuple(names) or tuple(known)
    for name in wanted:
        if name not in known:
            there = ", ".join(known) or "none yet"
            raise NoSuchBench(f"There is no benchmark {name!r}. Known: {there}.")
    return tuple(known[name] for name in wanted)
