"""Control groups, for runtimes that do not bring their own and to learn how a job ended."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tallystick.execution.executor import Limits

PARENT = "tallystick"
_PERIOD = 100_000
_OURS = 4
"""Processes of bubblewrap or crun and what holds them, which count, too."""
_JOIN = 'while [ "$1" != -- ]; do echo $$ >"$1" || exit 125; shift; done; shift; exec "$@"'
_SELF = "tallystick-self"
"""Where we are ourselves, inside a group that was delegated to us."""
_MOUNTS, _OWN = Path("/proc/self/mounts"), Path("/proc/self/cgroup")
_NEEDED = ("memory", "cpu", "pids")


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """Where control groups are made on this machine."""

    v1: dict[str, Path]
    """Folder of each controller of version 1."""
    v2: Path | None
    """Folder of version 2, when it has the controllers that we need."""

    @classmethod
    def find(
        cls, mounts: Path = _MOUNTS, own: Path = _OWN, *, root: bool | None = None
    ) -> Self:
        """Read the mounts of this machine.

        Without root, version 2 can be used below our own group when it was delegated to us,
        as systemd does for services with `Delegate=yes`.
        """
        root = os.geteuid() == 0 if root is None else root
        v1: dict[str, Path] = {}
        v2 = None
        for line in mounts.read_text().splitlines():
            _, folder, kind, options = line.split(" ")[:4]
            if kind == "cgroup":
                v1 |= {name: Path(folder) for name in options.split(",")}
            elif kind == "cgroup2":
                candidate = Path(folder) if root else _delegated(Path(folder), own)
                v2 = candidate if candidate and _offers(candidate) else None
        return cls(v1, v2)

    @property
    def usable(self) -> bool:
        """Whether limits can be set here, by us."""
        folders = [self.v2] if self.v2 else [self.v1.get(name) for name in _NEEDED]
        return all(folder is not None and os.access(folder, os.W_OK) for folder in folders)

    @property
    def roots(self) -> tuple[Path, ...]:
        """Every folder in which a runtime may have made a group of a job."""
        found = [*self.v1.values(), *([self.v2] if self.v2 else [])]
        return tuple(dict.fromkeys(found))


def _delegated(mount: Path, own: Path) -> Path | None:
    """Our own group, ready to have groups inside; None when it is not ours to change."""
    lines = own.read_text().splitlines()
    path = next((line[3:] for line in lines if line.startswith("0::")), None)
    if path is None:
        return None
    group = mount / path.lstrip("/")
    group = group.parent if group.name == _SELF else group
    try:
        given = set((group / "cgroup.subtree_control").read_text().split())
        if set(_NEEDED) <= given and os.access(group / "cgroup.procs", os.W_OK):
            return group
        # A group with groups in it may have no process of its own: we move, if we are alone.
        if (group / "cgroup.procs").read_text().split() != [str(os.getpid())]:
            return None
        (group / _SELF).mkdir(exist_ok=True)
        (group / _SELF / "cgroup.procs").write_text(str(os.getpid()))
        wanted = " ".join(f"+{name}" for name in _NEEDED)
        (group / "cgroup.subtree_control").write_text(wanted)
    except OSError:
        return None
    return group


def _offers(folder: Path) -> bool:
    try:
        return set(_NEEDED) <= set((folder / "cgroup.controllers").read_text().split())
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class Cgroup:
    """The control group of one job, whoever made it."""

    found: Hierarchies
    name: str

    @property
    def path(self) -> str:
        """As OCI runtimes want it."""
        return f"/{PARENT}/{self.name}"

    def create(self, limits: Limits) -> None:
        """Make it and set the limits. Raises OSError when the machine does not let us."""
        if self.found.v2:
            self._create_v2(self.found.v2, limits)
            return
        for name in _NEEDED:
            self._folder(self.found.v1[name]).mkdir(parents=True, exist_ok=True)
        memory = self._folder(self.found.v1["memory"])
        (memory / "memory.limit_in_bytes").write_text(str(limits.memory))
        swap = memory / "memory.memsw.limit_in_bytes"
        if swap.exists():
            swap.write_text(str(limits.memory))
        cpu = self._folder(self.found.v1["cpu"])
        (cpu / "cpu.cfs_period_us").write_text(str(_PERIOD))
        (cpu / "cpu.cfs_quota_us").write_text(str(_quota(limits)))
        (self._folder(self.found.v1["pids"]) / "pids.max").write_text(str(limits.pids + _OURS))

    def _create_v2(self, root: Path, limits: Limits) -> None:
        wanted = " ".join(f"+{name}" for name in _NEEDED)
        (root / PARENT).mkdir(exist_ok=True)
        for folder in (root, root / PARENT):
            (folder / "cgroup.subtree_control").write_text(wanted)
        group = self._folder(root)
        group.mkdir(exist_ok=True)
        (group / "memory.max").write_text(str(limits.memory))
        swap = group / "memory.swap.max"
        if swap.exists():
            swap.write_text("0")
        (group / "cpu.max").write_text(f"{_quota(limits)} {_PERIOD}")
        (group / "pids.max").write_text(str(limits.pids + _OURS))

    def add(self, pid: int) -> None:
        """Put a process, and what it starts from now on, under the limits.

        Nothing happens when it has ended already.
        """
        roots = [self.found.v2] if self.found.v2 else [self.found.v1[n] for n in _NEEDED]
        for root in roots:
            with contextlib.suppress(ProcessLookupError):
                (self._folder(root) / "cgroup.procs").write_text(str(pid))

    def joining(self) -> tuple[str, ...]:
        """Words before a command that make it join the group before it starts."""
        roots = [self.found.v2] if self.found.v2 else [self.found.v1[n] for n in _NEEDED]
        files = (str(self._folder(root) / "cgroup.procs") for root in roots)
        return ("sh", "-c", _JOIN, "sh", *files, "--")

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel killed something in it for memory."""
        root = self.found.v2 or self.found.v1.get("memory")
        if root is None:
            return False
        file = "memory.events" if self.found.v2 else "memory.oom_control"
        try:
            lines = (self._folder(root) / file).read_text().splitlines()
        except OSError:
            return False
        return any(line.startswith("oom_kill ") and line.split()[1] != "0" for line in lines)

    def remove(self) -> None:
        """Kill what is still in it, and remove it wherever it is."""
        folders = [
            folder for root in self.found.roots if (folder := self._folder(root)).is_dir()
        ]
        for attempt in range(60):
            folders = [folder for folder in folders if not _remove(folder)]
            if not folders:
                return
            time.sleep(min(0.05, 0.001 * 2**attempt))

    def _folder(self, root: Path) -> Path:
        return root / PARENT / self.name


def leftovers(found: Hierarchies, prefix: str) -> tuple[str, ...]:
    """Names of the jobs that have a group."""
    names = set()
    for root in found.roots:
        with contextlib.suppress(OSError):
            names |= {e.name for e in os.scandir(root / PARENT) if e.is_dir()}
    return tuple(sorted(name for name in names if name.startswith(prefix)))


def tidy(found: Hierarchies) -> None:
    """Remove the folders that hold the groups of jobs, where there are none any more."""
    for root in found.roots:
        with contextlib.suppress(OSError):
            (root / PARENT).rmdir()


def _remove(group: Path) -> bool:
    """Whether the group is gone; groups that a runtime made inside it go first."""
    with contextlib.suppress(OSError):
        for child in os.scandir(group):
            if child.is_dir(follow_symlinks=False):
                _remove(Path(child.path))
    try:
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _quota(limits: Limits) -> int:
    return max(1_000, int(limits.cpus * _PERIOD))
