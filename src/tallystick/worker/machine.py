"""What this machine is: processors, memory, disk. Looked up, not judged."""

from __future__ import annotations

import os
import platform
import re
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

_LIMITS = ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine, as far as this process may use it."""

    processors: int
    architecture: str
    """As `uname -m` says it."""
    memory: int
    """Bytes in all; less where a control group allows less."""
    free_disk: int
    """Bytes where the worker keeps its tasks."""


def look(folder: Path, root: Path = Path("/")) -> Machine:
    """This machine, and the disk that holds `folder`, which may not exist yet."""
    return Machine(
        processors=len(os.sched_getaffinity(0)),
        architecture=platform.machine(),
        memory=_memory(root),
        free_disk=free_disk(folder),
    )


def free_disk(folder: Path) -> int:
    """Bytes that can still be written in `folder`, or where it would be made."""
    there = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    return shutil.disk_usage(there).free


def _memory(root: Path) -> int:
    text = (root / "proc/meminfo").read_text()
    total = 1024 * int(text.split("MemTotal:", 1)[1].split()[0])
    allowed = (_number(root / name) for name in _LIMITS)
    return min([total, *(limit for limit in allowed if limit)])


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Enclaves:
    """What there is on this machine for trusted execution."""

    flags: frozenset[str]
    """Of the processor, by /proc/cpuinfo."""
    kernel: tuple[int, int]
    legacy_driver: bool
    """Intel's old driver outside the kernel is loaded."""
    devices: tuple[str, ...]
    """Names below /dev that an enclave needs, as far as they are there."""
    readable: bool
    """Whether this process may open all of `devices`."""
    aesm: bool
    """Intel's attestation service listens."""
    in_container: bool
    """This process sees another /dev than the host's."""
    tdx: bool
    """This whole machine is a trusted domain, by its processor's flags and its device."""
    tsm_reports: bool
    """The kernel hands out the reports of a trusted domain."""


SGX_DEVICES = (
    "isgx",
    "sgx/enclave",
    "sgx/provision",
    "sgx",
    "sgx_enclave",
    "sgx_provision",
)


def look_for_enclaves(root: Path = Path("/"), kernel: str | None = None) -> Enclaves:
    """What `root`'s proc, sys, dev and var show; `kernel` is a release like `6.1.0-13`."""
    flags = _flags(root / "proc/cpuinfo")
    devices = tuple(name for name in SGX_DEVICES if _is_device(root / "dev" / name))
    return Enclaves(
        flags=flags,
        kernel=release(kernel or platform.release()),
        legacy_driver=(root / "sys/module/isgx").exists(),
        devices=devices,
        readable=all(os.access(root / "dev" / name, os.R_OK | os.W_OK) for name in devices),
        aesm=(root / "var/run/aesmd/aesm.socket").exists(),
        in_container=in_container(root),
        tdx="tdx_guest" in flags and (root / "dev/tdx_guest").exists(),
        tsm_reports=(root / "sys/kernel/config/tsm/report").exists(),
    )


def in_container(root: Path = Path("/")) -> bool:
    """Whether this process is itself in a container of Docker's or podman's."""
    return any((root / name).exists() for name in (".dockerenv", "run/.containerenv"))


def release(text: str) -> tuple[int, int]:
    """Major and minor number of a kernel; (0, 0) when they cannot be read."""
    found = re.match(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _is_device(path: Path) -> bool:
    """A device, not the folder of the same name that holds some. Fake trees have files."""
    try:
        return not stat.S_ISDIR(path.stat().st_mode)
    except OSError:
        return False


def _flags(path: Path) -> frozenset[str]:
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return frozenset()
    named = (line.partition(":") for line in lines if line.startswith(("flags", "Features")))
    return frozenset(next((rest.split() for _, _, rest in named), []))
