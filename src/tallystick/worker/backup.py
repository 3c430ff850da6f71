"""A worker's memory in one file: its journal and its transactions, and no secret."""

from __future__ import annotations

from pathlib import Path
from typing import Final, get_args

from tallystick.engine.backup import JOURNAL, Age, Memory, NotRestored
from tallystick.lifecycle.facts import Fact

__all__ = ["BOOK", "JOURNAL", "VOTES", "Age", "NotRestored", "backup", "restore"]

BOOK, VOTES = "transactions.db", "votes.db"

_MEMORY: Final = Memory(
    noun="worker",
    # Transactions first, since the chain tells which are missing, and the digests of votes
    # last, since nobody else knows them.
    files=(BOOK, JOURNAL, VOTES),
    kinds=get_args(Fact),
    kept=(VOTES,),  # it only ever grows, and nobody else knows these digests
)


def backup(home: Path, file: Path) -> Age:
    """Copy the memory of the worker in `home` to `file`, also while it runs.

    Raises Refused when there is none, or `file` exists.
    """
    return _MEMORY.backup(home, file)


def restore(home: Path, file: Path) -> Age:
    """Put the memory in `file` back into `home`. What lay there is kept beside it.

    Raises NotRestored when the worker runs, when `file` is no backup of ours, or when what is
    there knows more than the backup does.
    """
    return _MEMORY.restore(home, file)
