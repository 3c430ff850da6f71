"""What a pool remembers, from one kind of store to the other: files, or a database.

The file between them is gzip of JSON, a line a row, so that it outlives both. It holds no
secret.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from tallystick.engine.errors import Refused

FORMAT: Final = 1
_HEAD: Final = "tallystick pool"
_END: Final = "end"

TABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "facts": (
        *("seq", "stream", "kind", "body", "at"),
        *("block", "block_hash", "log_index", "tx", "void"),
    ),
    "notes": ("key", "value"),
    "timings": ("what", "stream", "due", "sent"),
    "logs": ("task", "worker", "stdout", "stderr", "at"),
    "entry": (
        *("wallet", "chain", "id", "nonce", "target", "data", "value", "what", "gas", "cap"),
        *("state", "since", "next", "reason", "receipt"),
    ),
    "attempt": ("hash", "entry", "raw", "most", "tip", "block", "at"),
}
"""Every table with its columns; what others refer to comes first."""

Row = tuple[str, tuple[Any, ...]]
"""A table, and the values of one row of it."""


class NotEmpty(Refused):
    """Where a pool should go there is one already, or the file exists."""


class NotAnExport(Refused):
    """The file is no export of a pool, or not whole, or of a later version."""


class Store(Protocol):
    """Where a pool keeps what it remembers."""

    def rows(self) -> Iterator[Row]:
        """Everything, table by table, each one in its own order."""

    def fill(self, rows: Iterable[Row]) -> None:
        """Take over everything, or nothing. Raises NotEmpty."""


def export(store: Store, file: Path) -> Counter[str]:
    """Write what `store` holds; how many rows of each table. Raises NotEmpty."""
    if file.exists():
        raise NotEmpty(f"{file} exists: choose another name.")
    part = file.with_name(f"{file.name}.part")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    counted = Counter[str]()
    with gzip.open(part, "wt", encoding="utf-8", compresslevel=3) as out:
        out.write(json.dumps([_HEAD, FORMAT]) + "\n")
        for table, values in store.rows():
            counted[table] += 1
            out.write(json.dumps([table, *map(_told, values)]) + "\n")
        out.write(json.dumps([_END, counted]) + "\n")
    part.rename(file)
    return counted


def take_over(file: Path, store: Store) -> Counter[str]:
    """Put what `file` holds into an empty store; how many rows of each table.

    Raises NotAnExport before anything is written, NotEmpty.
    """
    counted = Counter(table for table, _ in _read(file))
    store.fill(_read(file))
    return counted


def _read(file: Path) -> Iterator[Row]:
    """Raises NotAnExport, at the end at the latest."""
    counted = Counter[str]()
    try:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            _require_head(file, json.loads(next(lines, "[]")))
            for line in lines:
                table, *values = json.loads(line)
                if table == _END and Counter(values[0]) == counted:
                    return
                if len(values) != len(TABLES[table]):
                    raise ValueError(table)
                counted[table] += 1
                yield table, tuple(map(_meant, values))
    except (OSError, EOFError, ValueError, LookupError, TypeError, zlib.error) as problem:
        raise NotAnExport(f"{file} is no export of a pool, or it is damaged.") from problem
    raise NotAnExport(f"{file} is not whole: its end is missing.")


def _require_head(file: Path, head: list[Any]) -> None:
    if len(head) != 2 or head[0] != _HEAD:
        raise NotAnExport(f"{file} is no export of a pool.")
    if head[1] > FORMAT:
        raise NotAnExport(f"{file} was written by a later version: use that one.")


def _told(value: Any) -> Any:
    return {"hex": value.hex()} if isinstance(value, bytes) else value


def _meant(value: Any) -> Any:
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) else value
