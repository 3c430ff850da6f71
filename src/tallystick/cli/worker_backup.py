"""`tally worker backup|restore`: a worker's memory in one file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from tallystick.cli.terminal import Json, Voice
from tallystick.worker import backup as memory
from tallystick.worker.settings import read

Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="The worker's settings file.")
]


def attach(group: typer.Typer) -> None:
    """Add `tally worker backup` and `restore`."""
    group.command("backup")(backup)
    group.command("restore")(restore)


def backup(
    file: Annotated[Path, typer.Argument(help="Where the copy goes; must not exist.")],
    config: Config = None,
    json: Json = False,
) -> None:
    """Copy what the worker remembers (journal and transactions, no secret) to one file.

    The worker may run meanwhile. Keep the copy away from this machine, and the wallet too.
    """
    home = read(config, password_later=True).config.home
    age = memory.backup(home, file)
    _tell(Voice(json=json), file, age, f"{file} holds the {age.facts} facts of {home}")


def restore(
    file: Annotated[Path, typer.Argument(help="A copy that `tally worker backup` made.")],
    config: Config = None,
    json: Json = False,
) -> None:
    """Put a copy back, before the worker is started again. What is newer is not overwritten.

    At its start the worker asks the chain what happened since the copy was made, before it
    signs anything.
    """
    home = read(config, password_later=True).config.home
    age = memory.restore(home, file)
    _tell(Voice(json=json), file, age, f"{home} has the {age.facts} facts of {file} again")


def _tell(voice: Voice, file: Path, age: memory.Age, sentence: str) -> None:
    last = datetime.fromtimestamp(age.last, UTC)
    voice.say(f"{sentence}, the last one of {last:%Y-%m-%d %H:%M:%S} UTC.")
    voice.answer({"file": str(file), "facts": age.facts, "last": age.last})
