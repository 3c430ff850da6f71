"""`tally pool backup|restore`: a pool's memory in one file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from tallystick.cli.failure import Mistake
from tallystick.cli.pool_place import Config, place
from tallystick.cli.terminal import Json, Voice
from tallystick.engine.backup import Age
from tallystick.scheduler.admin_backup import MEMORY


def attach(group: typer.Typer) -> None:
    """Add `tally pool backup` and `tally pool restore`."""
    group.command("backup")(backup)
    group.command("restore")(restore)


def backup(
    file: Annotated[Path, typer.Argument(help="Where the copy goes; must not exist.")],
    *,
    config: Config = None,
    json: Json = False,
) -> None:
    """Copy what a pool remembers (tasks, workers, orders, transactions; no secret) to one file.

    The pool may run meanwhile. Keep the copy away from this machine, and the wallet too.
    """
    home = _home(config)
    age = MEMORY.backup(home, file)
    _tell(Voice(json=json), file, age, f"{file} holds the {age.facts} facts of {home}")


def restore(
    file: Annotated[Path, typer.Argument(help="A copy that `tally pool backup` made.")],
    *,
    config: Config = None,
    json: Json = False,
) -> None:
    """Put a copy back, before the pool is started again. What is newer is not overwritten.

    At its start the pool reads on the chain what happened since the copy was made.
    """
    home = _home(config)
    age = MEMORY.restore(home, file)
    _tell(Voice(json=json), file, age, f"{home} has the {age.facts} facts of {file} again")


def _home(config: Path | None) -> Path:
    """The folder of the pool's files. Raises Mistake when its memory is in PostgreSQL."""
    found = place(config).config
    if str(getattr(found, "database", "")).startswith("postgres"):
        raise Mistake(
            "This pool's memory is in PostgreSQL: use pg_dump and pg_restore on its database,"
            " with every scheduler of the pool stopped before a restore."
        )
    return found.data_dir


def _tell(voice: Voice, file: Path, age: Age, sentence: str) -> None:
    last = datetime.fromtimestamp(age.last, UTC)
    voice.say(f"{sentence}, the last one of {last:%Y-%m-%d %H:%M:%S} UTC.")
    voice.answer({"file": str(file), "facts": age.facts, "last": age.last})
