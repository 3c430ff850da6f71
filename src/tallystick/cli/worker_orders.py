"""`tally worker pause|resume|stop`: telling a running worker what to do."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from tallystick.cli.failure import Mistake
from tallystick.cli.terminal import Json, Voice
from tallystick.cli.worker_place import BaseDir, Config, Name, Place, place
from tallystick.worker.remote import NoAnswer, NotRunning

_LOOK = 0.2
_PATIENCE = 60.0
"""Seconds for a worker to end that does not have to finish anything."""


def attach(group: typer.Typer) -> None:
    group.command("pause")(pause)
    group.command("resume")(resume)
    group.command("stop")(stop)


def pause(
    *, config: Config = None, name: Name = None, base_dir: BaseDir = None, json: Json = False
) -> None:
    """Let a worker ask for no more work; what it has is finished. Outlives a restart."""
    told = place(config, name, base_dir).ask("pause")
    _tell(json, told, "The worker is paused: it finishes what it has, and asks for no more.")


def resume(
    *,
    clear: Annotated[
        bool,
        typer.Option("--clear", help="Also forget that another program used the wallet."),
    ] = False,
    config: Config = None,
    name: Name = None,
    base_dir: BaseDir = None,
    json: Json = False,
) -> None:
    """Let a paused or draining worker ask for work again."""
    told = place(config, name, base_dir).ask("resume", clear=clear)
    _tell(json, told, "The worker asks for work again.")


def stop(
    *,
    drain: Annotated[
        bool, typer.Option("--drain", help="Finish first what was begun; takes its time.")
    ] = False,
    config: Config = None,
    name: Name = None,
    base_dir: BaseDir = None,
    json: Json = False,
) -> None:
    """Stop a worker: it hands back what it has not voted on, tells the scheduler, and ends."""
    where = place(config, name, base_dir)
    told = where.ask("drain" if drain else "stop")
    if drain:
        _tell(json, told, "The worker finishes what it has begun, and ends then.")
        return
    _wait(where)
    _tell(json, told | {"state": "not running"}, "The worker has stopped.")


def _wait(where: Place) -> None:
    """Until nobody answers any more. Raises Mistake."""
    ends = time.monotonic() + _PATIENCE
    while time.monotonic() < ends:
        try:
            where.ask("status")
        except NotRunning:
            return
        except NoAnswer:
            pass  # it hung up in the middle: it is about to be gone
        time.sleep(_LOOK)
    raise Mistake(f"The worker in {where.home} is still there after {_PATIENCE:.0f} s.")


def _tell(json: bool, told: dict[str, object], sentence: str) -> None:
    voice = Voice(json=json)
    if not told["obeyed"]:
        sentence = "The worker is still starting and takes no orders yet; end it with a signal."
    if not json:
        voice.say(sentence)
    voice.answer(told)
    if not told["obeyed"]:
        raise typer.Exit(1)
