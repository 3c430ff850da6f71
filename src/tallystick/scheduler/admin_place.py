"""The folder of a scheduler belongs to one process at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tallystick.engine.errors import Refused

_LOCK = "lock"


class InUse(Refused):
    """Another scheduler runs in this folder."""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep every other scheduler, and a restore, out of `folder`. Raises InUse."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / _LOCK).open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as taken:
            raise InUse(
                f"A scheduler runs in {folder} already: stop it first (tally pool drain, or"
                " SIGTERM), or give each scheduler a data_dir of its own."
            ) from taken
        yield
