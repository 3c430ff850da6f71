"""`tally pool block|unblock|pardon|drain`: telling a running pool what to do."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from tallystick.cli import parsing
from tallystick.cli.failure import Mistake
from tallystick.cli.pool_place import Config, Place, place
from tallystick.cli.terminal import Json, Voice
from tallystick.poco.values import Address
from tallystick.wire.remote import NoAnswer, NotRunning

WalletArgument = Annotated[
    Address, typer.Argument(parser=parsing.address, metavar="WALLET", help="0x…, 40 digits.")
]

_LOOK = 0.5


def attach(group: typer.Typer) -> None:
    """Add `tally pool block`, `unblock`, `pardon` and `drain`."""
    group.command("block")(block)
    group.command("unblock")(unblock)
    group.command("pardon")(pardon)
    group.command("drain")(drain)


def block(
    wallet: WalletArgument,
    *,
    why: Annotated[str, typer.Option("--why", help="The worker is told so.")] = "",
    config: Config = None,
    json: Json = False,
) -> None:
    """Give a worker no more work, from now on, also after a restart of the pool.

    What it holds already it may finish: its permission to vote cannot be taken back.
    """
    told, voice = place(config).ask("block", wallet=str(wallet), why=why), Voice(json=json)
    if not json:
        held = f" It may finish the {told['holds']} it holds." if told["holds"] else ""
        voice.say(f"{wallet} gets no more tasks.{held}")
    voice.answer(told)


def unblock(wallet: WalletArgument, *, config: Config = None, json: Json = False) -> None:
    """Give a worker work again. If it was turned away it has to be started again."""
    told, voice = place(config).ask("unblock", wallet=str(wallet)), Voice(json=json)
    if not json:
        was = "gets tasks again" if told["was_blocked"] else "was not blocked"
        voice.say(f"{wallet} {was}.")
    voice.answer(told)


def pardon(wallet: WalletArgument, *, config: Config = None, json: Json = False) -> None:
    """Forget what audits found of a worker, and of others of its owner.

    It starts again as a stranger: all its results are audited until enough of them were right.
    """
    told, voice = place(config).ask("pardon", wallet=str(wallet)), Voice(json=json)
    if not json:
        was = "gets tasks again" if told["was_distrusted"] else "was not distrusted"
        others = len(told["pardoned"]) - 1
        voice.say(f"{wallet} {was}." + (f" So do {others} of its owner." if others else ""))
    voice.answer(told)


def drain(
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Also do the tasks that are bought and not begun.")
    ] = False,
    whole_pool: Annotated[
        bool, typer.Option("--whole-pool", help="Of several schedulers, let all of them end.")
    ] = False,
    off: Annotated[
        bool, typer.Option("--off", help="Take it back: sell and begin tasks again.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Return when the pool has ended.")
    ] = False,
    config: Config = None,
    json: Json = False,
) -> None:
    """Let a pool sell nothing more, finish the tasks that it began, and end then.

    Tasks that were bought and not begun are left to the next start, or done too with --all:
    their stake is lost when nobody ends them in time.

    Of several schedulers on one database only this one ends, at once, and the others go on with
    its tasks, unless --whole-pool is said.
    """
    where, voice = place(config), Voice(json=json)
    told = where.ask("drain", all=everything, off=off, whole_pool=whole_pool)
    if not json:
        voice.say(_sentence(told, off=off))
    if wait and not off:
        _wait(where, voice)
        told = told | {"state": "not running"}
    voice.answer(told)


def _sentence(told: dict[str, object], *, off: bool) -> str:
    if off:
        return "The pool sells and begins tasks again."
    if told["state"] == "leaving":
        return (
            f"This scheduler ends, and {told['others']} others go on with its tasks. To let all"
            " end: tally pool drain --whole-pool."
        )
    left = (
        f" {told['left']} tasks that nobody has begun are left to the next start."
        if told["left"]
        else ""
    )
    return f"The pool ends when {told['waits_for']} tasks are over.{left}"


def _wait(where: Place, voice: Voice) -> None:
    """Until nobody answers any more. Raises Mistake when the drain was taken back."""
    while True:
        try:
            if where.ask("status")["state"] == "working":
                raise Mistake("The pool works again: its drain was taken back.")
        except NotRunning:
            voice.say("The pool has ended.")
            return
        except NoAnswer:
            pass  # it hung up in the middle: it is about to be gone
        time.sleep(_LOOK)
