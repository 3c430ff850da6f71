"""How busy this machine is with other things than our tasks."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

from tallystick.worker.policy import HEEDED, Surroundings

_ROOT = Path("/")
_TERMINALS = ("dev/pts/[0-9]*", "dev/tty[0-9]*")


def look_around(
    own_load: float,
    *,
    root: Path = _ROOT,
    now: float | None = None,
    cpus: int | None = None,
    heeded: Collection[str] = HEEDED,
) -> Surroundings:
    """What is known under `root`. `own_load`: processors that our own apps keep busy; `now`:
    seconds since the epoch; `heeded`: what is looked at, the rest stays unknown."""
    found = Surroundings()
    if "load" in heeded:
        found = replace(found, load=_load(root, own_load, cpus or os.cpu_count() or 1))
    if "idle_minutes" in heeded:
        minutes = _idle_minutes(root, time.time() if now is None else now)
        found = replace(found, idle_minutes=minutes)
    if "on_battery" in heeded:
        found = replace(found, on_battery=_on_battery(root))
    return found


def _load(root: Path, own: float, cpus: int) -> float | None:
    words = _read(root / "proc" / "loadavg").split()
    try:
        return max(0.0, float(words[0]) - own) / cpus
    except (IndexError, ValueError):
        return None


def _idle_minutes(root: Path, now: float) -> float | None:
    """Reading from a terminal marks it, so that the youngest mark is the last key pressed."""
    marks = [mark for pattern in _TERMINALS for mark in _read_at(root, pattern)]
    return max(0.0, now - max(marks)) / 60 if marks else None


def _on_battery(root: Path) -> bool | None:
    supplies = sorted((root / "sys" / "class" / "power_supply").glob("*"))
    kinds = [(_read(each / "type"), each) for each in supplies]
    batteries = [each for kind, each in kinds if kind == "Battery"]
    if not batteries:
        return None
    plugged = any(_read(each / "online") == "1" for kind, each in kinds if kind != "Battery")
    return not plugged and any(_read(each / "status") == "Discharging" for each in batteries)


def _read_at(root: Path, pattern: str) -> Iterator[float]:
    for path in root.glob(pattern):
        try:
            yield path.stat().st_atime
        except OSError:
            continue  # the terminal was closed meanwhile


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
