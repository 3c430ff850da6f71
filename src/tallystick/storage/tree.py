"""Folders that a stranger's program has filled: looking into them, and getting rid of them.

Links are never followed, nothing is opened that is not a regular file, every step goes from
an open directory to one of its entries: no path is looked up twice and none is too long.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from itertools import count, islice
from pathlib import Path


class Kind(Enum):
    """What an entry of a folder is."""

    FILE = auto()
    LINK = auto()
    FOLDER = auto()
    SPECIAL = auto()
    """A FIFO, a socket or a device: reading it could block or do harm."""


class TreeTooLarge(Exception):
    """There are more entries, or deeper ones, than the caller wants to look at."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a tree, as it was when it was looked at."""

    path: str
    """Relative to the root, with slashes."""
    name: str
    kind: Kind
    size: int
    """Bytes it claims or bytes it occupies, whichever is more: sparse files claim much."""


def walk(root: Path, *, max_entries: int, max_depth: int) -> Iterator[Entry]:
    """Everything below `root`, folders before what is in them, sorted by name.

    Raises `TreeTooLarge` beyond either limit and `OSError` where something is unreadable.
    """
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        budget = [max_entries]
        yield from _below(folder, "", max_depth, budget)
    finally:
        os.close(folder)


def _below(folder: int, prefix: str, depth: int, budget: list[int]) -> Iterator[Entry]:
    if depth < 0:
        raise TreeTooLarge(f"the folders in {prefix[:200]!r} are nested too deeply")
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in islice(entries, budget[0] + 1))
    budget[0] -= len(names)
    if budget[0] < 0:
        raise TreeTooLarge("there are too many files and folders")
    for name in names:
        entry = _look(folder, prefix + name, name)
        yield entry
        if entry.kind is Kind.FOLDER:
            yield from _inside(folder, entry, depth, budget)


def _inside(folder: int, entry: Entry, depth: int, budget: list[int]) -> Iterator[Entry]:
    inner = os.open(entry.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
    try:
        yield from _below(inner, entry.path + "/", depth - 1, budget)
    finally:
        os.close(inner)


def _look(folder: int, path: str, name: str) -> Entry:
    state = os.lstat(name, dir_fd=folder)
    return Entry(path, name, kind_of(state.st_mode), max(state.st_size, state.st_blocks * 512))


def kind_of(mode: int) -> Kind:
    """The kind that the `st_mode` of an entry tells."""
    if stat.S_ISREG(mode):
        return Kind.FILE
    if stat.S_ISDIR(mode):
        return Kind.FOLDER
    return Kind.LINK if stat.S_ISLNK(mode) else Kind.SPECIAL


@contextmanager
def open_folder(root: Path, path: str) -> Iterator[int]:
    """A file descriptor of the folder `path` below `root`, which is the path "" itself.

    Raises `FileNotFoundError` for anything else, links on the way included.
    """
    here = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name in path.split("/") if path else ():
            inner = _open_at(here, name, os.O_DIRECTORY)
            os.close(here)
            here = inner
        yield here
    finally:
        os.close(here)


def open_file(root: Path, path: str) -> int | None:
    """A file descriptor of the regular file `path` below `root`; None if it is a link.

    Raises `FileNotFoundError` for anything else, links on the way included.
    """
    parent, _, name = path.rpartition("/")
    with open_folder(root, parent) as folder:
        try:
            kind = kind_of(os.lstat(name, dir_fd=folder).st_mode)
        except OSError as absence:
            raise FileNotFoundError(f"{path} cannot be read: {absence.strerror}") from absence
        if kind is Kind.LINK:
            return None
        if kind is not Kind.FILE:
            raise FileNotFoundError(f"{path} is not a regular file")
        return _open_at(folder, name, os.O_NONBLOCK)


def _open_at(folder: int, name: str, flags: int) -> int:
    if name in ("", ".", ".."):
        raise FileNotFoundError(f"{name!r} is not the name of a file")
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | flags, dir_fd=folder)
    except OSError as refusal:
        raise FileNotFoundError(f"{name!r} cannot be read: {refusal.strerror}") from refusal


def kinds_in(root: Path, path: str) -> dict[str, Kind]:
    """The direct entries of the folder `path` below `root`. Raises `FileNotFoundError`."""
    with open_folder(root, path) as folder, os.scandir(folder) as entries:
        return {
            entry.name: kind_of(entry.stat(follow_symlinks=False).st_mode) for entry in entries
        }


def remove_tree(root: Path) -> None:
    """Delete `root` and all below it, however deep, long-named or write-protected.

    Nested folders are first moved up into `root`, so neither the stack nor a path grows with
    the depth. Nothing happens when there is no `root`. Raises `OSError` where the files are
    not ours to delete.
    """
    try:
        top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        root.unlink()
        return
    try:
        os.fchmod(top, 0o700)
        numbers = (f".{secrets.token_hex(8)}.{number}" for number in count())
        while names := _names(top):
            for name in names:
                _drop(top, name, numbers)
    finally:
        os.close(top)
    root.rmdir()


def _names(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in islice(entries, 10_000)]


def _is_folder(folder: int, name: str) -> bool:
    return stat.S_ISDIR(os.lstat(name, dir_fd=folder).st_mode)


def _drop(top: int, name: str, free_names: Iterator[str]) -> None:
    """Delete the entry `name` of `top`; folders inside it become entries of `top`."""
    if not _is_folder(top, name):
        os.unlink(name, dir_fd=top)
        return
    os.chmod(name, 0o700, dir_fd=top)
    inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=top)
    try:
        _empty(inner, top, free_names)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=top)


def _empty(folder: int, top: int, free_names: Iterator[str]) -> None:
    while names := _names(folder):
        for name in names:
            if _is_folder(folder, name):
                os.chmod(name, 0o700, dir_fd=folder)
                os.rename(name, next(free_names), src_dir_fd=folder, dst_dir_fd=top)
            else:
                os.unlink(name, dir_fd=folder)
