"""A user namespace in which every user of an image exists, and none is anybody on the host."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tallystick.execution.executor import RuntimeUnfit

BASE = 1_900_000_000
"""Host user that user 0 of jobs is: above the ranges that distributions give to people."""
COUNT = 65_536
OUTSIDER = COUNT
"""Added to the base: the first user outside, who owns the namespace."""


@dataclass(slots=True)
class UserNamespace:
    """The namespace, held open by a descriptor. Needs root to be made."""

    base: int
    fd: int = field(init=False)

    def __post_init__(self) -> None:
        owner = str(self.base + OUTSIDER)
        command = (
            *("setpriv", "--reuid", owner, "--regid", owner, "--clear-groups"),
            *("--inh-caps", "+sys_admin", "--ambient-caps", "+sys_admin"),
            *("unshare", "--user", "sh", "-c", "echo ready; read _"),
        )
        try:
            self.fd = _hold(command, f"0 {self.base} {COUNT}")
        except (OSError, ValueError) as error:
            raise RuntimeUnfit(f"No user namespace can be made here: {error}.") from error

    def close(self) -> None:
        """Let it go; it ends with the last job in it."""
        os.close(self.fd)


def refusal() -> str | None:
    """Why no such namespace can be made here; None when one can."""
    try:
        UserNamespace(BASE).close()
    except RuntimeUnfit as problem:
        return str(problem)
    return None


def _hold(command: tuple[str, ...], mapping: str) -> int:
    pipe = subprocess.PIPE
    with subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe, stderr=pipe) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        if child.stdout.readline().strip() != "ready":
            raise ValueError(child.stderr.read().strip() or "unshare failed")
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{child.pid}/{name}").write_text(mapping)
        fd = os.open(f"/proc/{child.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        child.stdin.write("\n")
    return fd
