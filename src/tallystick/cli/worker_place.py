"""Which worker a command of `tally worker` is about, and asking it."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from tallystick.cli.failure import Mistake
from tallystick.cli.terminal import Json, Voice
from tallystick.engine.settings import table
from tallystick.worker import environment, remote
from tallystick.worker.control import SOCKET
from tallystick.worker.remote import NotRunning
from tallystick.worker.settings import PAGE_BASE_DIR

Config = Annotated[
    Path | None, typer.Option("--config", help="The worker's settings, a TOML file.")
]
Name = Annotated[str | None, typer.Option("--name", help="The worker's name at its pool.")]
BaseDir = Annotated[
    Path | None, typer.Option("--base-dir", help="Where the workers of this machine work.")
]

NOT_RUNNING = 1
"""The exit code when the worker would have to run and does not."""


@dataclass(frozen=True, slots=True)
class Place:
    """One worker's folder."""

    home: Path

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """What the running worker answers. Raises NotRunning, NoAnswer."""
        return remote.ask(self.home, do, **request)

    def ask_or_none(self, do: str, **request: Any) -> dict[str, Any] | None:
        """The same, and None when it does not run. Raises NoAnswer."""
        try:
            return self.ask(do, **request)
        except NotRunning:
            return None


def about_a_worker(command: Callable[..., None]) -> Callable[..., None]:
    """Let `command` be told `where` the worker is and the `voice` to answer with, instead of
    the options by which that is said: these stand after its own."""

    @wraps(command)
    def told(
        *, config: Config, name: Name, base_dir: BaseDir, json: Json, **own: object
    ) -> None:
        command(**own, where=place(config, name, base_dir), voice=Voice(json=json))

    own = inspect.signature(command, eval_str=True).parameters.values()
    options = [each for each in own if each.name not in ("where", "voice")]
    common: dict[str, Any] = {"config": Config, "name": Name, "base_dir": BaseDir, "json": Json}
    for name, kind in common.items():
        default = False if name == "json" else None
        options.append(
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind
            )
        )
    vars(told)["__signature__"] = inspect.Signature(options)
    told.__annotations__ = {each.name: each.annotation for each in options}
    return told


def place(config: Path | None, name: str | None, base_dir: Path | None) -> Place:
    """The worker that is meant: by its settings, by its name, or the only one there is.
    Raises Mistake when there is none, or more than one."""
    told = _told(config)
    base = base_dir or Path(told.get("base_dir", PAGE_BASE_DIR)).expanduser()
    wanted = name or told.get("name") or ("worker" if config else None)
    if wanted is not None:
        return _existing(base, str(wanted))
    return _only(base)


def absent(voice: Voice, where: Place) -> None:
    """Say that only the journal speaks."""
    voice.say(f"The worker in {where.home} does not run; this is what its journal says.")


def _told(config: Path | None) -> dict[str, Any]:
    """What the environment and the settings file say, in the order in which they count."""
    file = {}
    if config is not None:
        if not config.is_file():
            raise Mistake(f"There is no configuration file {config}.")
        file = table(config)
    return file | environment.given(os.environ, lambda path: "").values


def _existing(base: Path, name: str) -> Place:
    home = base / name
    if not _is_worker(home):
        known = _workers(base)
        others = f" There: {', '.join(each.name for each in known)}." if known else ""
        raise Mistake(f"No worker {name!r} has ever run in {base}.{others}")
    return Place(home)


def _only(base: Path) -> Place:
    known = _workers(base)
    if not known:
        raise Mistake(
            f"No worker has ever run in {base}: name its settings with --config, or its folder"
            " with --base-dir."
        )
    if len(known) > 1:
        names = ", ".join(each.name for each in known)
        raise Mistake(
            f"There are several workers in {base}: choose with --name. They: {names}."
        )
    return Place(known[0])


def _workers(base: Path) -> list[Path]:
    try:
        folders = sorted(each for each in base.iterdir() if each.is_dir())
    except OSError:
        return []
    return [each for each in folders if _is_worker(each)]


def _is_worker(folder: Path) -> bool:
    return (folder / "journal.db").is_file() or (folder / SOCKET).exists()
