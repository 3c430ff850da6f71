"""Keeping a joined worker running: by systemd where it runs, else in this terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from tallystick.cli import unit
from tallystick.cli.failure import Mistake
from tallystick.cli.join_home import JoinHome
from tallystick.cli.join_talk import Talk

_PATIENCE: Final = 90.0
"""Seconds for a started worker to answer, and for one that stops to be gone."""
_LOOK: Final = 0.5


@dataclass(frozen=True, slots=True)
class Keeper:
    """The systemd that looks after a worker."""

    name: str
    """Of the unit."""
    folder: Path
    """Where its unit lies."""
    personal: bool
    """Whether it is the one of the person, and not that of the machine."""

    @property
    def path(self) -> Path:
        """The unit's file."""
        return self.folder / self.name

    def call(self, *words: str) -> str:
        """Run systemctl; what it says. Raises Mistake."""
        command = ["systemctl", *(["--user"] if self.personal else []), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Mistake(f"{' '.join(command)} failed: {done.stderr.strip() or 'no reason'}")
        return done.stdout

    @property
    def journal(self) -> str:
        """The command that shows what the worker says."""
        return f"journalctl {'--user ' if self.personal else ''}-fu {self.name}"


def keeper(home: JoinHome, name: str) -> Keeper | None:
    """Who keeps this worker running; None where no systemd does that for this user."""
    if not unit.SYSTEMD.is_dir():
        return None
    pool = home.root.name.removeprefix("tallystick-worker-")
    called = f"tally-worker-{pool}-{name}.service"
    if os.geteuid() == 0:
        return Keeper(called, unit.UNITS, personal=False)
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    mine = Keeper(called, folder / "systemd" / "user", personal=True)
    try:
        mine.call("show-environment")
    except (Mistake, OSError):
        return None
    return mine


def begin(talk: Talk, home: JoinHome, name: str) -> None:
    """Start the worker, or start it again with the program that runs this. Without systemd
    this process becomes the worker. Raises Mistake."""
    found = keeper(home, name)
    if found is None:
        _here(talk, home, name)
    text = unit.unit_text(home.settings(name), personal=found.personal)
    found.folder.mkdir(parents=True, exist_ok=True)
    found.path.write_text(text)
    found.path.chmod(0o644)
    found.call("daemon-reload")
    found.call("enable", found.name)
    found.call("restart", found.name)
    if found.personal:
        _linger(talk)
    state = _answered(home, name)
    if not state:
        raise Mistake(f"{found.name} was started, but does not answer: see {found.journal}")
    talk.ok(f"{found.name} runs ({state}), and starts with the machine")


def end(talk: Talk, home: JoinHome, name: str) -> None:
    """Stop the worker and take its unit away. It hands back what it has not voted on."""
    found = keeper(home, name)
    if found is not None and found.path.exists():
        found.call("disable", "--now", found.name)
        found.path.unlink()
        found.call("daemon-reload")
    if home.runs(name):
        halt(home, name)
    talk.ok(f"The worker {name} does not run any more")


def halt(home: JoinHome, name: str) -> None:
    """Stop a worker that runs in a terminal. Raises Mistake."""
    words = ("worker", "stop", "--config", str(home.settings(name)))
    subprocess.run([*_TALLY, *words], stdout=subprocess.DEVNULL, check=False)
    if _gone(home, name):
        return
    raise Mistake(f"The worker {name} is still there after {_PATIENCE:.0f} s: see its log.")


_TALLY: Final = (sys.executable, "-m", "tallystick")


def _here(talk: Talk, home: JoinHome, name: str) -> NoReturn:
    talk.info("No systemd looks after this machine for you: the worker runs here until Ctrl-C.")
    words = ("worker", "start", "--config", str(home.settings(name)))
    sys.stdout.flush()
    os.execv(sys.executable, [*_TALLY, *words])


def _linger(talk: Talk) -> None:
    """Let the person's services run while the person is not logged in."""
    try:
        subprocess.run(["loginctl", "enable-linger"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        talk.info(
            "Run `sudo loginctl enable-linger $USER`, or the worker ends when you log out."
        )


def _answered(home: JoinHome, name: str) -> str:
    """The state once the worker has started; the last one when that takes long."""
    ends, state = time.monotonic() + _PATIENCE, ""
    while time.monotonic() < ends:
        state = home.runs(name)
        if state not in ("", "starting", "busy"):
            break
        time.sleep(_LOOK)
    return state


def _gone(home: JoinHome, name: str) -> bool:
    ends = time.monotonic() + _PATIENCE
    while time.monotonic() < ends:
        if not home.runs(name):
            return True
        time.sleep(_LOOK)
    return False
