"""A mount namespace of our own: whatever is mounted in it is gone when this process is.

Needs root. A few threads live in the namespace; what they start lives in it, too. So nothing
has to be unmounted after a crash, and folders that only root may walk through can be shown
to processes without any privilege.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

T = TypeVar("T")

STAGE = Path("/run/tallystick")
"""An empty folder of the host; in the namespace, a place in memory for mount points."""

_CLONE_FS, _CLONE_NEWNS = 0x0200, 0x0002_0000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 4096, 16384, 1 << 18
_MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def mount(source: str, target: Path, kind: str, flags: int, options: str = "") -> None:
    """mount(2). Raises OSError."""
    words = (os.fsencode(text) for text in (source, str(target), kind))
    result = _libc.mount(*words, ctypes.c_ulong(flags), options.encode())
    _checked(result, f"mount {source} on {target}")


def bind(source: Path, target: Path) -> None:
    """Show the folder `source` at `target`, too."""
    target.mkdir(parents=True, exist_ok=True)
    mount(str(source), target, "none", MS_BIND)


def unmount(target: Path) -> None:
    """Take a mount away; what still uses it keeps it until it ends."""
    _libc.umount2(os.fsencode(str(target)), _MNT_DETACH)


@dataclass(slots=True)
class MountNamespace:
    """The namespace and its threads. Close it when nothing runs in it any more."""

    shown: Mapping[Path, Path] = field(default_factory=dict)
    """Folders to show for as long as the namespace lives: where, and which."""
    _pool: ThreadPoolExecutor = field(init=False, repr=False)
    _guard: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _fd: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(4, "mounts", initializer=self._enter)

    async def call(self, work: Callable[[], T]) -> T:
        """Do `work` inside the namespace. Not cut short by cancellation."""
        return await anyio.to_thread.run_sync(lambda: self._pool.submit(work).result())

    def close(self) -> None:
        """End the threads, and with them every mount."""
        self._pool.shutdown()
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _enter(self) -> None:
        with self._guard:
            if self._fd is None:
                self._fd = _create()
                for target, source in self.shown.items():
                    bind(source, target)
            else:
                _checked(_libc.unshare(_CLONE_FS), "unshare")
                _checked(_libc.setns(self._fd, _CLONE_NEWNS), "setns")


def _create() -> int:
    STAGE.mkdir(mode=0o755, exist_ok=True)
    _checked(_libc.unshare(_CLONE_NEWNS), "unshare")
    mount("none", Path("/"), "none", MS_REC | MS_PRIVATE)
    unified = Path("/sys/fs/cgroup/unified")
    if unified.is_dir():
        # crun refuses to work while both versions of control groups are mounted.
        unmount(unified)
    mount("none", STAGE, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=16m")
    return os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
