"""`tally version`."""

from __future__ import annotations

import platform

import typer

import tallystick
from tallystick.cli.terminal import Json, Voice


def attach(program: typer.Typer) -> None:
    """Add `tally version`."""
    program.command("version")(version)


def version(json: Json = False) -> None:
    """Tell the version."""
    voice = Voice(json=json)
    if not json:
        voice.say(f"tallystick {tallystick.__version__}")
    voice.answer({"version": tallystick.__version__, "python": platform.python_version()})
