"""The folder of one pool on a worker's machine: programs, workers, and passwords.

HOME/tally                 the program of now
HOME/program-MARK/         an installation
HOME/workers/NAME.toml     the settings of a worker
HOME/work/NAME/            what it works with
HOME/passwords/NAME        opens its wallet; outlives the worker
"""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tallystick.cli.failure import Mistake
from tallystick.worker import remote, settings
from tallystick.worker.config import WorkerConfig
from tallystick.worker.remote import NoAnswer, NotRunning

NAME: Final = re.compile(r"[-_A-Za-z0-9]{1,64}")


@dataclass(frozen=True, slots=True)
class JoinHome:
    """Everything of one pool here."""

    root: Path

    @property
    def workers(self) -> list[str]:
        """The names of the workers that were set up."""
        return sorted(path.stem for path in (self.root / "workers").glob("*.toml"))

    def settings(self, name: str) -> Path:
        """The settings file of a worker."""
        return self.root / "workers" / f"{name}.toml"

    def password(self, name: str) -> Path:
        """Where the password of its wallet is kept, if no other file was named."""
        return self.root / "passwords" / name

    def config(self, name: str) -> WorkerConfig:
        """What its settings say, the environment left out. Raises BadSettings."""
        return settings.read(self.settings(name), {}, password_later=True).config

    def runs(self, name: str) -> str:
        """The state of a running worker; empty when it does not run."""
        try:
            told = remote.ask(self.root / "work" / name, "status")
        except NotRunning:
            return ""
        except NoAnswer:
            return "busy"
        return str(told["state"])

    def forget(self, name: str) -> None:
        """Remove a worker's settings and what it worked with; not its wallet or password."""
        self.settings(name).unlink(missing_ok=True)
        shutil.rmtree(self.root / "work" / name, ignore_errors=True)

    def tidy(self) -> None:
        """Remove programs that nothing uses any more, and all of it with the last worker."""
        mine = Path(sys.prefix).resolve()
        last = not self.workers
        for folder in self.root.glob("program-*"):
            if not _in_use(folder) and (last or folder.resolve() != mine):
                shutil.rmtree(folder, ignore_errors=True)
        if last:
            (self.root / "tally").unlink(missing_ok=True)
            shutil.rmtree(self.root / "work", ignore_errors=True)
            for name in ("workers", "passwords", "."):
                _remove_if_empty(self.root / name)


def checked_name(text: str) -> str:
    """`text` as the name of a worker. Raises Mistake."""
    if not NAME.fullmatch(text):
        raise Mistake(
            f"{text!r} is no name: only letters, digits, - and _, at most 64 of them."
        )
    return text


def _in_use(folder: Path) -> bool:
    """Whether a worker runs from this installation."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].startswith(bytes(folder) + b"/") and b"start" in words:
            return True
    return False


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return  # the passwords of wallets stay
