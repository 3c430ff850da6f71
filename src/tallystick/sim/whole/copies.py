"""Folders that are set back: to a copy that was made now and then, or to nothing."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tallystick.poco.values import TaskId

if TYPE_CHECKING:
    from tallystick.sim.whole.keeper import Keeper

_EVERY: Final = 20
"""Seconds between two copies."""


@dataclass(frozen=True, slots=True)
class Copies:
    """Where the copies of a world are."""

    folder: Path
    chance: Callable[[float], bool]

    def fate(self, party: Keeper, probability: float, now: int) -> None:
        """A copy of the party's folder is made now and then, and takes its place."""
        copy = self.folder / "copies" / party.name
        if probability and now % _EVERY == 0:
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(party.home, copy)
        if self.chance(probability) and copy.exists():
            party.aged = True
            party.lost |= _pledged(party.home) - _pledged(copy)
            party.crash(restore=copy)

    def replace(self, party: Keeper) -> None:
        """Another one takes the party's place, with the same wallet and an empty folder."""
        empty = self.folder / "empty"
        empty.mkdir(exist_ok=True)
        party.tell("is replaced: the new one knows nothing")
        party.aged = True
        party.crash(restore=empty)


def _pledged(home: Path) -> set[TaskId]:
    """The tasks whose votes' digests are in a worker's folder."""
    found: set[TaskId] = set()
    for file in home.rglob("votes.db"):
        with closing(sqlite3.connect(file)) as db:
            found |= {TaskId(task) for (task,) in db.execute("SELECT task FROM pledge")}
    return found
