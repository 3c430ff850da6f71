"""The log files of child processes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

LARGEST = 20 * 2**20
"""Bytes above which a log is put aside when its program starts again."""

_TAIL = 4096


def open_log(path: Path) -> IO[bytes]:
    """The file to append to, readable by its owner only. One older file is kept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LARGEST:
        path.replace(path.with_name(f"{path.name}.1"))
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb")


def last_line(path: Path) -> str:
    """The last line that says something; empty when there is none."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - _TAIL))
            lines = log.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
