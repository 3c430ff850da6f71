"""A pool's files as a store that is exported, or filled by an import."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from tallystick.chain.shelf import FileShelf
from tallystick.engine.errors import Refused
from tallystick.engine.journal import Journal
from tallystick.engine.read_only import look_into
from tallystick.poco.values import Address
from tallystick.scheduler.logs import LogBook
from tallystick.scheduler.transfer import TABLES, NotEmpty, Row

_FILES: Final = {
    "journal.db": ("facts", "notes", "timings"),
    "logs.db": ("logs",),
    "transactions.db": ("entry", "attempt"),
}
_OWNER: Final = ("wallet", "chain")
"""What the file of transactions says once, and not in every row."""


class FolderStore:
    """The folder of a pool that does not run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def rows(self) -> Iterator[Row]:
        """Everything, table by table, each one in its own order."""
        for name, tables in _FILES.items():
            if not (self._folder / name).is_file():
                continue
            with closing(look_into(self._folder / name)) as db:
                db.execute("BEGIN")
                for table in tables:
                    for row in db.execute(_selection(db, table)):
                        yield table, row

    def fill(self, rows: Iterable[Row]) -> None:
        """Take over everything, or nothing. Raises NotEmpty."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, tables in _FILES.items():
            _require_empty(self._folder / name, tables)
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=".import-") as place:
            _write(Path(place), rows)
            for name in _FILES:
                for rest in self._folder.glob(f"{name}*"):
                    rest.unlink()
                if (made := Path(place) / name).exists():
                    shutil.move(made, self._folder / name)


def _selection(db: sqlite3.Connection, table: str) -> str:
    """What an older file lacks is empty."""
    present = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
    columns = [
        column
        if column in present
        else f"(SELECT {column} FROM owner)"
        if table == "entry" and column in _OWNER
        else "NULL"
        for column in TABLES[table]
    ]
    if not present:
        return "SELECT 1 WHERE FALSE"
    order = {"notes": "key", "logs": "task, worker"}.get(table, "rowid")
    return f"SELECT {', '.join(columns)} FROM {table} ORDER BY {order}"


def _require_empty(path: Path, tables: Iterable[str]) -> None:
    if not path.is_file():
        return
    with closing(look_into(path)) as db:
        for table in tables:
            if db.execute(f"SELECT EXISTS (SELECT 1 FROM {table})").fetchone() != (0,):
                raise NotEmpty(f"{path} has {table} already: choose an empty folder.")


def _write(place: Path, rows: Iterable[Row]) -> None:
    Journal[Any](place / "journal.db", ()).close()
    LogBook(place / "logs.db").close()
    with ExitStack() as stack:
        for table, group in groupby(rows, key=lambda row: row[0]):
            path = place / _file_of(table)
            values: Iterable[tuple[Any, ...]] = (row for _, row in group)
            if table == "entry":
                values = _owned(path, list(values))
            db = stack.enter_context(closing(sqlite3.connect(path)))
            columns = [c for c in TABLES[table] if table != "entry" or c not in _OWNER]
            marks = ", ".join("?" * len(columns))
            with db:
                db.executemany(
                    f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", values
                )


def _file_of(table: str) -> str:
    return next(name for name, tables in _FILES.items() if table in tables)


def _owned(path: Path, rows: Sequence[tuple[Any, ...]]) -> Iterable[tuple[Any, ...]]:
    """A file of transactions has one owner. Raises Refused when there are several."""
    owners = {row[:2] for row in rows}
    if len(owners) > 1:
        raise Refused(
            f"There are transactions of {len(owners)} wallets, but a folder has room for one:"
            " stay with PostgreSQL."
        )
    for wallet, chain in owners:
        FileShelf(path, Address(wallet), chain).close()
    return [row[2:] for row in rows]
