"""`tally worker pause|resume|stop`: telling a running worker what to do."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from tallystick.cli.failure import Mistake
from tallystick.cli.terminal import Voice
from tallystick.cli.worker_place import Place, about_a_worker
from tallystick.worker.remote import NoAnswer, NotRunning

_LOOK = 0.2
_PATIENCE = 60.0
"""Seconds for a worker to end that does not have to finish anything."""


def attach(group: typer.Typer) -> None:
    """Add `tally worker pause`, `resume` and `stop`."""
    group.command("pause")(pause)
    group.command("resume")(resume)
    group.command("stop")(stop)


@about_a_worker
def pause(*, where: Place, voice: Voice) -> None:
    """Let a worker ask for no more work; what it has is finished. Outlives a restart."""
    told = where.ask("pause")
    _tell(voice, told, "The worker is paused: it finishes what it has, and asks for no more.")


@about_a_worker
def resume(
    *,
    clear: Annotated[
        bool,
        typer.Option("--clear", help="Also forget that another program used the wallet."),
    ] = False,
    where: Place,
    voice: Voice,
) -> None:
    """Let a paused or draining worker ask for work again."""
    told = where.ask("resume", clear=clear)
    _tell(voice, told, "The worker asks for work again.")


@about_a_worker
def stop(
    *,
    drain: Annotated[
        bool, typer.Option("--drain", help="Finish first what was begun; takes its time.")
    ] = False,
    where: Place,
    voice: Voice,
) -> None:
    """Stop a worker: it hands back what it has not voted on, tells the scheduler, and ends."""
    told = where.ask("drain" if drain else "stop")
    if drain:
        _tell(voice, told, "The worker finishes what it has begun, and ends then.")
        return
    _wait(where)
    _tell(voice, told | {"state": "not running"}, "The worker has stopped.")


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


def _tell(voice: Voice, told: dict[str, object], sentence: str) -> None:
    if not told["obeyed"]:
        sentence = "The worker is still starting and takes no orders yet; end it with a signal."
    if not voice.json:
        voice.say(sentence)
    voice.answer(told)
    if not told["obeyed"]:
        raise typer.Exit(1)
