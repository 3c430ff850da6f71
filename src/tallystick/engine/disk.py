"""A disk that is full or gone is no bug: whoever writes waits for it."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tallystick.engine.errors import DiskTrouble, NoRoom

_PASSING = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_BUSY,
)
"""What may be over in a while: no room, no disk, a disk mounted read-only, somebody copying."""


@contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Raises DiskTrouble when the database `path` cannot be written for now."""
    try:
        yield
    except sqlite3.OperationalError as trouble:
        if trouble.sqlite_errorcode & 0xFF not in _PASSING:
            raise
        raise DiskTrouble(
            f"{path} cannot be written ({trouble}): is its disk full?"
        ) from trouble


def out_of_room(trouble: BaseException) -> bool:
    """Whether it says that a disk, or our share of it, is full."""
    full = isinstance(trouble, OSError) and trouble.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or isinstance(trouble, NoRoom)
