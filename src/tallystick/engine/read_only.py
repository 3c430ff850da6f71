"""Looking into the files of a program that runs, or that does not, without touching them."""

from __future__ import annotations

import sqlite3
import weakref
from pathlib import Path
from typing import TypeVar

from tallystick.engine.errors import Refused
from tallystick.engine.journal import Journal, adapters

F = TypeVar("F")


class NotThere(Refused):
    """There is no such file, it is empty, or it cannot be read; the sentence says which."""


def look_into(path: Path) -> sqlite3.Connection:
    """A connection that cannot write. Raises NotThere."""
    try:
        return _readable(path, "mode=ro")
    except sqlite3.OperationalError:
        pass  # in a folder that cannot be written, not even a lock can be taken
    try:
        return _readable(path, "immutable=1")
    except sqlite3.Error as trouble:
        raise NotThere(f"{path} cannot be read: {trouble}.") from trouble


class JournalView(Journal[F]):
    """A journal that is only read: no table is made, no format raised."""

    def __init__(self, path: Path, kinds: tuple[type[F], ...]) -> None:
        """Raises NotThere. What `Journal` does when it opens a file would change it."""
        self.path, self.trouble = path, None
        self._db = look_into(path)
        weakref.finalize(self, self._db.close)
        self._timings = []
        self._codecs = adapters(kinds)

    def close(self) -> None:
        """Release the file."""
        self._db.close()


def _readable(path: Path, mode: str) -> sqlite3.Connection:
    if not path.is_file():
        raise NotThere(f"{path} is not there.")
    db = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)
    try:
        (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        db.close()
        raise
    if not tables:  # whose program makes it just now, or was killed while it did
        db.close()
        raise NotThere(f"{path} is empty: start its program, which goes on with it.")
    return db
