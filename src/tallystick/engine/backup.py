"""The memory of a program in one file: its journal and its other books, and no secret."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Final

from tallystick.engine.errors import Refused
from tallystick.engine.journal import Journal

JOURNAL: Final = "journal.db"
_MOST = 1 << 34
"""Bytes of one of the files; more is no backup of ours."""


class NotRestored(Refused):
    """The backup was not put back; the sentence says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Age:
    """How far a journal had come."""

    facts: int
    last: float
    """When its last fact was written, seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What a kind of program remembers, and where."""

    noun: str
    """What the program is called in sentences for people."""
    files: tuple[str, ...]
    """Databases in its folder, in the order in which they are copied; the journal is one."""
    kinds: tuple[type[Any], ...]
    """Of the journal's facts."""
    kept: tuple[str, ...] = ()
    """Files that only ever grow: a restore leaves those that are there."""

    def backup(self, home: Path, file: Path) -> Age:
        """Copy the memory in `home` to `file`, also while the program runs.

        Raises Refused when there is none, or `file` exists.
        """
        if not (home / JOURNAL).is_file():
            raise Refused(f"There is no {self.noun}'s journal in {home}: nothing to back up.")
        if file.exists():
            raise Refused(f"{file} exists already: choose another name, or remove it.")
        with tempfile.TemporaryDirectory(
            dir=file.absolute().parent, prefix=".backup-"
        ) as folder:
            copies = [
                _copied(home / name, Path(folder) / name)
                for name in self.files
                if (home / name).is_file()
            ]
            packed = Path(folder) / "packed"
            with tarfile.open(packed, "w:gz") as archive:
                for copy in copies:
                    archive.add(copy, copy.name, filter=_anonymous)
            packed.chmod(0o600)
            _flush(packed)
            packed.rename(file)
            return self._age(Path(folder) / JOURNAL)

    def restore(self, home: Path, file: Path) -> Age:
        """Put the memory in `file` back into `home`. What lay there is kept beside it.

        Raises NotRestored when the program runs, when `file` is no backup of ours, or when what
        is there knows more than the backup does.
        """
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (
            self._stopped(home),
            tempfile.TemporaryDirectory(dir=home, prefix=".restore-") as folder,
        ):
            found = self._unpacked(file, Path(folder))
            backed_up = self._age(found[JOURNAL])
            self._require_older(home, backed_up)
            put_aside = home / f"before-restore-{int(time.time())}"
            for name in self.kept:
                if (home / name).is_file():
                    found.pop(name, None)
            for name in self.files:
                for path in () if name in self.kept else home.glob(f"{name}*"):
                    put_aside.mkdir(exist_ok=True, mode=0o700)
                    path.rename(put_aside / path.name)
            for name, path in found.items():
                path.chmod(0o600)
                _flush(path)
                path.rename(home / name)
            _flush(home)
        return backed_up

    def _unpacked(self, file: Path, folder: Path) -> dict[str, Path]:
        found = {}
        try:
            with tarfile.open(file, "r:gz") as archive:
                for entry in archive:
                    if entry.name not in self.files or not entry.isreg() or entry.size > _MOST:
                        raise NotRestored(
                            f"{file} holds {entry.name!r}: it is no {self.noun}'s backup."
                        )
                    content = archive.extractfile(entry) or BytesIO()
                    found[entry.name] = folder / entry.name
                    _written(content, found[entry.name])
        except (OSError, tarfile.TarError, EOFError) as problem:
            raise NotRestored(f"{file} is no backup that can be read: {problem}.") from problem
        if JOURNAL not in found:
            raise NotRestored(f"{file} holds no journal: it is no {self.noun}'s backup.")
        return found

    def _require_older(self, home: Path, backed_up: Age) -> None:
        """What only the journal here knows would be forgotten: a vote, perhaps."""
        if not (home / JOURNAL).is_file():
            return
        try:
            here = self._age(home / JOURNAL)
        except NotRestored:
            return  # it is damaged: that is what backups are for
        if here.facts > backed_up.facts or here.last > backed_up.last:
            raise NotRestored(
                f"The journal in {home} is newer than the backup ({here.facts} facts, not"
                f" {backed_up.facts}): it is better, so nothing was changed. To do without it,"
                f" move {home / JOURNAL} away first."
            )

    def _age(self, path: Path) -> Age:
        """Raises NotRestored when it is no journal."""
        try:
            with closing(sqlite3.connect(path)) as db:
                facts, last = db.execute("SELECT count(*), max(at) FROM facts").fetchone()
            with closing(Journal[Any](path, self.kinds)) as journal:
                for _ in journal.read():
                    pass  # every fact can be read by this version
        except sqlite3.DatabaseError as problem:
            raise NotRestored(f"{path} is no journal that can be read: {problem}.") from problem
        return Age(int(facts), float(last or 0))

    @contextmanager
    def _stopped(self, home: Path) -> Iterator[None]:
        """Hold the program's folder, as the program itself would."""
        with (home / "lock").open("wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as held:
                raise NotRestored(f"The {self.noun} of {home} runs: stop it first.") from held
            yield


def _copied(source: Path, target: Path) -> Path:
    """A consistent copy of a database that somebody may be writing to."""
    with closing(sqlite3.connect(source)) as db, closing(sqlite3.connect(target)) as copy:
        db.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
    return target


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o600
    return entry


def _written(content: IO[bytes], path: Path) -> None:
    with path.open("wb") as copy:
        while chunk := content.read(1 << 20):
            copy.write(chunk)


def _flush(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
