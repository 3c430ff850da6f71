"""What figures were measured on: the machine, and how busy others kept it."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

_LOOK = 1.0
"""Seconds over which it is seen what others do."""
BUSY = 10.0
"""Percent of all processors that others may take before a figure counts as disturbed."""


def machine() -> dict[str, str | int]:
    """What matters for figures. No name, no place: nobody is told whose it is."""
    return {
        "processor": _line(Path("/proc/cpuinfo"), "model name") or platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": _memory(),
        "system": platform.system(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _memory() -> int:
    told = _line(Path("/proc/meminfo"), "MemTotal").split()
    return int(told[0]) // 1024 if told else 0


def _line(file: Path, name: str) -> str:
    """The first value of this name; "" where there is none."""
    lines = file.read_text().splitlines() if file.is_file() else []
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in pairs if key.strip() == name), "")


def others_busy() -> float:
    """Percent of all processors that whatever runs here takes while we do nothing."""
    before = _ticks()
    time.sleep(_LOOK)
    total, idle = (now - then for now, then in zip(_ticks(), before, strict=True))
    return round(100 * (1 - idle / total), 1) if total else 0.0


def _ticks() -> tuple[int, int]:
    """Of all processors since the system started: all, and those of them in which it waited."""
    told = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    counted = [int(part) for part in told[:8]]
    return sum(counted), counted[3] + counted[4]
