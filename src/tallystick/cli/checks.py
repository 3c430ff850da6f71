"""`tally worker check|doctor|deposit`: whether a worker could work here, and if not, why."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import anyio
import typer

from tallystick.cli import parsing
from tallystick.cli.passwords import ask_password
from tallystick.cli.terminal import Json, Voice
from tallystick.engine.settings import BadSettings
from tallystick.requester.amounts import show_amount
from tallystick.worker import settings
from tallystick.worker.checkup import Checkup
from tallystick.worker.config import WorkerConfig
from tallystick.worker.deposit import deposit
from tallystick.worker.doctor import Doctor
from tallystick.worker.preflight import Exit, Verdict, fail, first_failure

Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="The settings file.")
]
Look = Callable[[WorkerConfig], Awaitable[list[Verdict]]]


def attach(group: typer.Typer) -> None:
    """Add `tally worker check`, `doctor` and `deposit`."""
    group.command()(check)
    group.command()(doctor)
    group.command("deposit")(deposit_rlc)


def check(config: Config = None, json: Json = False) -> None:
    """Look at everything that a worker needs, as its start does, and say what to do.

    Ends with 0 when all is well or only warned of, else by the first failure: 2 settings,
    3 wallet, 4 funds, 5 version, 6 refused by the scheduler, 7 runtime, 1 does not answer.
    """

    async def look(found: WorkerConfig) -> list[Verdict]:
        async with AsyncExitStack() as stack:
            return await Checkup(found, stack).run()

    _run(config, look, Voice(json=json), unlock=True)


def doctor(config: Config = None, json: Json = False) -> None:
    """Try the way to the scheduler, the chain and Docker step by step: for when a worker is
    not heard, or hears nothing."""
    _run(config, lambda found: Doctor(found).run(), Voice(json=json), unlock=False)


def deposit_rlc(
    amount: parsing.Amount,
    *,
    config: Config = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask again.")] = False,
    json: Json = False,
) -> None:
    """Move RLC from the worker's wallet to its account, where tasks stake it. The worker must
    be stopped meanwhile."""
    voice, nrlc = Voice(json=json), parsing.amount(" ".join(amount))
    read = settings.read(config, password_later=True)
    settings.withdraw_secrets(os.environ)
    if sys.stdin.isatty() and not yes:
        what = f"Deposit {show_amount(nrlc)} ({nrlc} nRLC) from {read.config.wallet}?"
        typer.confirm(what, abort=True)
    account = anyio.run(deposit, _with_password(read.config), nrlc)
    voice.say(f"{show_amount(account.stake)} deposited, {show_amount(account.locked)} locked.")
    voice.answer({"stake": account.stake, "locked": account.locked})


def _run(file: Path | None, look: Look, voice: Voice, *, unlock: bool) -> None:
    try:
        read = settings.read(file, password_later=True)
        settings.withdraw_secrets(os.environ)
        for note in read.notes:
            voice.say(f"WARN  settings: {note}")
        found = anyio.run(look, _with_password(read.config) if unlock else read.config)
    except BadSettings as mistakes:
        found = [fail("settings", str(mistakes), "", Exit.CONFIG)]
    for verdict in found:
        voice.say(f"{verdict.level:<4}  {verdict.check}: {verdict}")
    code = first_failure(found)
    voice.answer({"checks": [verdict.as_json() for verdict in found], "exit": int(code)})
    raise typer.Exit(int(code))


def _with_password(config: WorkerConfig) -> WorkerConfig:
    """Ask for a password that stands nowhere, when there is somebody to ask."""
    known = config.password is not None or config.password_file is not None
    if known or not sys.stdin.isatty():
        return config
    return settings.with_password(config, ask_password(None, str(config.wallet)))
