"""The command tree. Only the command that is named is imported, so that help is quick."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated

import typer
from typer.main import get_command

from tallystick.cli import services

Attach = Callable[[typer.Typer], None]

COMMANDS: Mapping[str, str] = {
    "up": "Start a whole market on this machine and watch a first task being paid.",
    "run": "Buy a computation: run an app image on the market.",
    "info": "Tell where the running local market is: chain, contracts, services, accounts.",
    "status": "Tell how the running local market is doing.",
    "task": "Look at a task, read its logs, take the money of a dead one back.",
    "result": "Download results.",
    "deal": "Look at deals.",
    "wallet": "Create, import and list wallets.",
    "account": "Look at deposits, add to them, take out of them.",
    "faucet": "Give an address test money on the local market.",
    "bench": "Measure, and compare with the reference figures.",
    "sim": "Live through simulated pools: crashes, lies, losses, reorgs, and cheats.",
    "pools": "Serve a page that lists pools.",
    "config": "Tell every setting of a worker, and where its value comes from.",
    "version": "Tell the version.",
    **services.SERVICES,
}
"""Every command with what it is for. `tallystick.cli.NAME` attaches it to the program."""

PARTS: Mapping[str, tuple[str, ...]] = {
    "pool": (
        "pool_look",
        "pool_rule",
        "pool_orders",
        "pool_chain",
        "pool_memory",
        "pool_transfer",
        "pool_login",
        "pool_wheelhouse",
    ),
    "worker": (
        "worker_look",
        "worker_earnings",
        "worker_orders",
        "worker_top",
        "checks",
        "fleet",
        "unit",
        "worker_backup",
        "join",
    ),
}
"""Modules in `tallystick.cli` that attach more commands to the group of a service."""


def invoke(words: Sequence[str]) -> int:
    """Run the command that `words` name; returns its exit code."""
    if list(words) == ["--version"]:
        words = ["version"]
    named = next((word for word in words if not word.startswith("-")), None)
    program = get_command(tree(named))
    gc.enable()
    try:
        program(args=list(words), prog_name="tally")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def tree(*names: str | None) -> typer.Typer:
    """The program with the commands `names` complete and the others known by name only."""
    program = typer.Typer(
        help="The iExec compute network, in Python.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich" if sys.stdout.isatty() else None,
    )
    for command, summary in COMMANDS.items():
        attach = _attach(command) if command in names else _promise(command, summary)
        attach(program)
    return program


def whole_tree() -> typer.Typer:
    """The program with every command complete: for documentation."""
    return tree(*COMMANDS)


def _attach(command: str) -> Attach:
    if command in services.SERVICES:
        return _service(command)
    attach: Attach = import_module(f"tallystick.cli.{command}").attach
    return attach


def _promise(command: str, summary: str) -> Attach:
    def attach(program: typer.Typer) -> None:
        program.command(command, help=summary, short_help=summary)(lambda: None)

    return attach


def _service(name: str) -> Attach:
    """For help and documentation; a real start never comes this way (see `main`)."""
    group = typer.Typer(help=services.SERVICES[name], no_args_is_help=True)

    @group.callback()
    def _only_a_group() -> None: ...

    def _start(**_: object) -> None: ...  # `names_service` saw to it before

    _start.__signature__ = Signature(list(_start_options(name)))  # type: ignore[attr-defined] # typer reads it
    group.command("start", help="Run until told to stop.")(_start)
    for part in PARTS.get(name, ()):
        import_module(f"tallystick.cli.{part}").attach(group)
    return lambda program: program.add_typer(group, name=name)


def _start_options(name: str) -> Iterator[Parameter]:
    config = typer.Option("--config", help="Its settings, a TOML file.")
    yield _option("config", Path, config)
    for flag, (kind, meaning) in services.flags_of(name).items():
        option = typer.Option(flag, metavar=kind, help=f"{meaning[0].upper()}{meaning[1:]}.")
        yield _option(flag[2:].replace("-", "_"), str, option)


def _option(name: str, kind: type, option: object) -> Parameter:
    return Parameter(
        name, Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )
