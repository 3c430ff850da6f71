"""What a job left behind: measured while it runs, taken over when it has ended.

The tree is a stranger's: links are never followed, special files are not taken, and neither
depth nor modes nor holes in files surprise anyone.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tallystick.execution.executor import ImageUnavailable, Limits
from tallystick.execution.layers import Budget, Unpacker
from tallystick.execution.sandbox import OUTPUT

_MAX_DEPTH = 64
_BLOCK = 512

STALE = 600.0
"""Seconds after which what serves for a moment was left behind by a process that was killed."""


class OutputTooLarge(Exception):
    """The output is beyond the job's limits: bytes, files, or 64 folders deep."""


@dataclass(frozen=True, slots=True)
class _Entry:
    path: str
    depth: int
    status: os.stat_result


def _walk(root: Path) -> Iterator[_Entry]:
    """Everything below `root`, folders before what is in them; vanishing things are skipped."""
    waiting = [(str(root), 1)]
    while waiting:
        folder, depth = waiting.pop()
        try:
            entries = list(os.scandir(folder))
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        except OSError as error:
            raise OutputTooLarge from error
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                yield _Entry(entry.path, depth, status)
                if stat.S_ISDIR(status.st_mode):
                    waiting.append((entry.path, depth + 1))


def measure(root: Path, limits: Limits) -> None:
    """Raises OutputTooLarge as soon as what is below `root` is beyond `limits`.

    The larger of apparent and real size counts, so holes and hidden blocks both do.
    """
    size = 0
    for files, entry in enumerate(_walk(root), 1):
        status = entry.status
        if not stat.S_ISDIR(status.st_mode):
            size += max(status.st_size, status.st_blocks * _BLOCK)
        if size > limits.disk or files > limits.files or entry.depth > _MAX_DEPTH:
            raise OutputTooLarge


def take_over(source: Path, target: Path, limits: Limits) -> None:
    """Copy files, folders and links (as links) from a finished job; ours from then on.

    Pipes, sockets and devices are left out. Raises OutputTooLarge before copying anything
    when the whole is beyond `limits`.
    """
    make_passable(source)
    measure(source, limits)
    target.mkdir(parents=True, exist_ok=True)
    for entry in _walk(source):
        place = target / os.path.relpath(entry.path, source)
        mode = entry.status.st_mode
        if stat.S_ISDIR(mode):
            place.mkdir(exist_ok=True)
        elif stat.S_ISLNK(mode):
            place.symlink_to(os.readlink(entry.path))
        elif stat.S_ISREG(mode):
            with contextlib.suppress(PermissionError):
                Path(entry.path).chmod(0o644)
            shutil.copyfile(entry.path, place, follow_symlinks=False)


def make_passable(root: Path) -> None:
    """Let us into folders that the job closed, as far as they are ours."""
    waiting = [str(root)]
    while waiting:
        folder = waiting.pop()
        with contextlib.suppress(OSError):
            os.chmod(folder, 0o755)
            waiting += [e.path for e in os.scandir(folder) if e.is_dir(follow_symlinks=False)]


def make_readable(root: Path) -> None:
    """Let every user read what is below `root`, for the job may run as any."""
    root.chmod(0o755)
    for entry in _walk(root):
        mode = stat.S_IMODE(entry.status.st_mode)
        wanted = mode | (0o555 if stat.S_ISDIR(entry.status.st_mode) else 0o444)
        if wanted != mode and not stat.S_ISLNK(entry.status.st_mode):
            os.chmod(entry.path, wanted)


def remove_tree(root: Path) -> None:
    """Remove `root`, however deep and closed it is; no error when it is not there.

    Folders are first moved up to the top, so that no path gets long. Their names there are new
    ones: a process with our number may have been killed while it did the same.
    """
    if not root.is_dir() or root.is_symlink():
        root.unlink(missing_ok=True)
        return
    moved, waiting, run = 0, [root], secrets.token_hex(8)
    while waiting:
        folder = waiting.pop()
        with contextlib.suppress(OSError):
            folder.chmod(0o700)
        for entry in list(os.scandir(folder)):
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)
            elif folder == root:
                waiting.append(Path(entry.path))
            else:
                moved += 1
                os.chmod(entry.path, 0o700)
                waiting.append(Path(entry.path).rename(root / f".removing-{run}-{moved}"))
        if folder != root:
            folder.rmdir()
    root.rmdir()


def remove_stale(folder: Path, pattern: str) -> None:
    """Remove what in `folder` is named like that and has not been touched for `STALE`."""
    for found in folder.glob(pattern):
        with contextlib.suppress(OSError):  # whoever else sees it does the same
            if time.time() - found.stat().st_mtime > STALE:
                remove_tree(found)


def take_over_tar(tar: Path, target: Path, limits: Limits) -> None:
    """The same from a tar of the output folder. Raises OutputTooLarge."""
    target.mkdir(parents=True, exist_ok=True)
    budget = Budget(tar.stat().st_size, limits.files + 1, float("inf"))
    top = OUTPUT.lstrip("/")
    unpacker = Unpacker(target, budget, None, strip=top, whiteouts=False, at_least=0o600)
    try:
        unpacker.apply(tar)
        measure(target, limits)
    except (ImageUnavailable, OutputTooLarge) as error:
        remove_tree(target)
        target.mkdir()
        raise OutputTooLarge from error
