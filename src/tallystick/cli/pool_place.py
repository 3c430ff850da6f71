"""Which pool a command of `tally pool` is about, and asking it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from platformdirs import user_data_dir

from tallystick.chain.wallet import Wallet
from tallystick.cli.failure import Mistake
from tallystick.devnet.places import Places
from tallystick.engine.settings import load, secret
from tallystick.scheduler.config import SchedulerConfig
from tallystick.wire import remote
from tallystick.wire.remote import NotRunning

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="The pool's settings, a TOML file.",
        show_default="those of the local market",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]

_LONG = 180.0
"""Seconds for what waits until a transaction is mined."""


@dataclass(frozen=True, slots=True)
class Place:
    """One pool, by its settings."""

    path: Path
    config: SchedulerConfig

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """What the running scheduler answers. Raises NotRunning, NoAnswer."""
        try:
            return remote.ask(self.config.data_dir, do, noun="pool", patience=_LONG, **request)
        except NotRunning as absence:
            raise NotRunning(
                f"{absence} Start it with: tally pool start --config {self.path}"
            ) from absence

    @property
    def runs(self) -> bool:
        """Whether a scheduler answers. Raises NoAnswer."""
        try:
            remote.ask(self.config.data_dir, "status", noun="pool")
        except NotRunning:
            return False
        return True

    def wallet(self) -> Wallet:
        """The wallet of the pool's owner. Raises WrongPassword, BadKeystore."""
        return Wallet.load(self.config.wallet, secret(self.config.password_file))


def place(config: Path | None) -> Place:
    """The pool that is meant. Raises Mistake, BadSettings."""
    path = config or Places(_local_market()).config("scheduler")
    if not path.is_file():
        hint = "" if config else ", and there is no local market: name the pool's with --config"
        raise Mistake(f"There is no configuration file {path}{hint}.")
    return Place(path, load(path, SchedulerConfig))


def _local_market() -> Path:
    """The folder of this user's local market, as `tally up` has it."""
    chosen = os.environ.get("TALLYSTICK_DATA")
    return Path(chosen) if chosen else Path(user_data_dir("tallystick")) / "local"


def confirm(question: str, *, yes: bool) -> None:
    """Go on only when somebody wants that. Raises Mistake."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Mistake(f"{question} Nobody is there to be asked: say --yes if that is wanted.")
    if not typer.confirm(question, err=True):
        raise Mistake("Nothing was done.")
