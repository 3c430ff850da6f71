"""`tally pool export|import`: from SQLite to PostgreSQL and back."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from tallystick.cli.failure import Mistake
from tallystick.cli.pool_place import Config, Place, place
from tallystick.cli.terminal import Json, Voice
from tallystick.engine.databases import with_postgres
from tallystick.scheduler import transfer
from tallystick.scheduler.transfer_files import FolderStore


def attach(group: typer.Typer) -> None:
    """Add `tally pool export` and `tally pool import`."""
    group.command("export")(export)
    group.command("import")(take_over)


def export(
    file: Annotated[Path, typer.Argument(help="Where it goes; must not exist.")],
    *,
    config: Config = None,
    json: Json = False,
) -> None:
    """Write everything a stopped pool remembers to one file, for `tally pool import`.

    It does not matter whether the pool keeps it in files or in PostgreSQL. No secret is in it.
    """
    counted = transfer.export(_store(place(config)), file)
    _tell(Voice(json=json), counted, f"{file} holds")


def take_over(
    file: Annotated[Path, typer.Argument(help="What `tally pool export` wrote.")],
    *,
    config: Config = None,
    json: Json = False,
) -> None:
    """Fill an empty pool, in files or in PostgreSQL as its settings say, with an export.

    Workers log in again by themselves, since keys stay where they were made.
    """
    counted = transfer.take_over(file, _store(place(config)))
    _tell(Voice(json=json), counted, "The pool has")


def _store(of: Place) -> transfer.Store:
    """Where the pool's settings say. Raises Mistake while it runs."""
    if of.runs:
        raise Mistake("The pool runs: stop its schedulers first.")
    if of.config.database:
        module = with_postgres("tallystick.scheduler.transfer_postgres")
        store: transfer.Store = module.DatabaseStore(of.config.database)
        return store
    return FolderStore(of.config.data_dir)


def _tell(voice: Voice, counted: Counter[str], begin: str) -> None:
    voice.say(
        f"{begin} {counted['facts']} facts, {counted['notes']} notes,"
        f" {counted['entry']} transactions and the logs of {counted['logs']} replicates."
    )
    voice.answer({"rows": dict(counted)})
