"""What is different when gVisor's kernel, named sentry, stands between a job and ours.

Its platform is the one that its version takes by itself: ptrace in older ones, then systrap.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tallystick.execution.executor import MIB, Limits

GVISOR = "runsc"
START_FAILED, START_FAILED_WORDS = 128, "running container: starting container"
"""How it tells that a job's command cannot be started."""
_MEMORY = 64 * MIB
"""Bytes for the sentry and for the process that opens files for it."""
_THREADS = 96
"""Of both, and of those that hold them."""
_EACH = 6
"""Threads of this machine that a process of the job takes."""

NO_NETWORK = "gVisor has a network stack of its own, which we do not lead anywhere"
GVISOR_DIFFERS = (
    "pids: gVisor's threads cannot be told from a job's, so those of both are limited, and a"
    " job may get by with more processes than it may have, or end for too many",
    "system calls: gVisor answers them; the filter of this machine's kernel is its own",
)


def with_sentry(limits: Limits) -> Limits:
    """Limits for the control group, which holds gVisor, too."""
    pids = _EACH * limits.pids + _THREADS
    return replace(limits, memory=limits.memory + _MEMORY, pids=pids)


def let_write_to_devices(bundle: dict[str, Any]) -> None:
    """To gVisor a device in a folder that cannot be written cannot be written either."""
    for mount in bundle["mounts"]:
        if mount["destination"] == "/dev":
            mount["options"].remove("ro")
