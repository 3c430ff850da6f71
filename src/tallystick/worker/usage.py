"""What this machine and the worker's processes use, by /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_PROC = Path("/proc")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK = os.sysconf("SC_CLK_TCK")
_MOST_FILES = 20_000
"""Files of tasks that are counted; more would take too long."""


def usage(home: Path, *, proc: Path = _PROC, pid: int | None = None) -> dict[str, Any]:
    """Memory in bytes, processor time in seconds, disk in bytes. Apps that a container daemon
    started are not this worker's children: of them only their files are counted."""
    me = os.getpid() if pid is None else pid
    mine, jobs = _process(proc, me), [_process(proc, each) for each in _descendants(proc, me)]
    memory = _meminfo(proc)
    disk = os.statvfs(home)
    return {
        "worker_memory": mine[0],
        "worker_cpu": mine[1],
        "jobs_memory": sum(each[0] for each in jobs),
        "jobs_cpu": sum(each[1] for each in jobs),
        "jobs_disk": _tasks_size(home),
        "machine_memory": memory.get("MemTotal", 0),
        "machine_free_memory": memory.get("MemAvailable", 0),
        "machine_load": _load(proc),
        "machine_cpus": os.cpu_count() or 1,
        "free_disk": disk.f_bavail * disk.f_frsize,
    }


def _process(proc: Path, pid: int) -> tuple[int, float]:
    """Resident bytes and seconds of processor time; zeros when it is gone."""
    fields = _stat(proc, pid)
    if not fields:
        return 0, 0.0
    return int(fields[21]) * _PAGE, (int(fields[11]) + int(fields[12])) / _TICK


def _stat(proc: Path, pid: int) -> list[str]:
    """The fields of `stat` from the third on: the name before may hold anything."""
    try:
        return (proc / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _descendants(proc: Path, pid: int) -> Iterator[int]:
    parents: dict[int, list[int]] = {}
    for each in proc.glob("[0-9]*"):
        fields = _stat(proc, int(each.name))
        if fields:
            parents.setdefault(int(fields[1]), []).append(int(each.name))
    waiting = list(parents.get(pid, []))
    while waiting:
        child = waiting.pop()
        yield child
        waiting += parents.get(child, [])


def _meminfo(proc: Path) -> dict[str, int]:
    try:
        lines = (proc / "meminfo").read_text().splitlines()
    except OSError:
        return {}
    words = [line.replace(":", " ").split() for line in lines]
    return {each[0]: int(each[1]) * 1024 for each in words if len(each) > 1}


def _load(proc: Path) -> float | None:
    try:
        return float((proc / "loadavg").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def _tasks_size(home: Path) -> int:
    size = seen = 0
    for folder in home.glob("0x*"):
        for place, _, names in os.walk(folder):
            seen += len(names)
            size += sum(_size(Path(place, name)) for name in names)
            if seen > _MOST_FILES:
                return size
    return size


def _size(path: Path) -> int:
    try:
        return path.lstat().st_blocks * 512
    except OSError:
        return 0
