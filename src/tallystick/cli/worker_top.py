"""`tally worker top`: a worker at a glance, again every second."""

from __future__ import annotations

from importlib import import_module

import typer

from tallystick.cli.failure import Mistake
from tallystick.cli.worker_place import BaseDir, Config, Name, place


def attach(group: typer.Typer) -> None:
    """Add `tally worker top`."""
    group.command("top")(top)


def top(*, config: Config = None, name: Name = None, base_dir: BaseDir = None) -> None:
    """Watch a running worker: tasks, money, resources, decisions; pause, resume, drain it."""
    where = place(config, name, base_dir)
    where.ask("status")
    try:
        dashboard = import_module("tallystick.cli.dashboard")
    except ModuleNotFoundError as absence:
        if absence.name is None or not absence.name.startswith("textual"):
            raise
        raise Mistake(
            "The dashboard needs an extra: pip install 'tallystick[top]'."
        ) from absence
    dashboard.Dashboard(where.ask).run()
