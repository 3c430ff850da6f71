"""What the kernel tells of processes."""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path

_PAGE = resource.getpagesize()


def seen_from_here(first: int, number: int) -> int:
    """Our number of the process that is `number` in the pid namespace below `first`.

    Raises ProcessLookupError when it has ended.
    """
    waiting = [first]
    while waiting:
        process = waiting.pop()
        with contextlib.suppress(OSError):
            status = Path("/proc", str(process), "status").read_text()
            line = next(line for line in status.splitlines() if line.startswith("NSpid:"))
            if line.split()[2:3] == [str(number)]:
                return process
            waiting += _children(process)
    raise ProcessLookupError(number)


def _children(process: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{process}/task"):
            children = Path(f"/proc/{process}/task/{thread}/children").read_text()
            found += [int(pid) for pid in children.split()]
    return found


def private_memory(first: int) -> int:
    """Bytes in memory of `first` and all its descendants, without what is shared with files."""
    total, waiting = 0, [first]
    while waiting:
        folder = Path("/proc", str(waiting.pop()))
        with contextlib.suppress(OSError, ValueError):
            _, resident, shared = (folder / "statm").read_text().split()[:3]
            total += (int(resident) - int(shared)) * _PAGE
        waiting += _children(int(folder.name))
    return total
