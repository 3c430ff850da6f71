"""The local chain's two npm packages: the Anvil node and the real PoCo contracts.

Both are installed once, into a folder of the user's cache, by exact version and checksum.
PoCo names two dependencies that only a Git host has; they are sources for a compiler, so an
empty package takes their place. No script of any package is run.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from platformdirs import user_cache_path

from tallystick.devnet.node import npm_command
from tallystick.engine.errors import Refused

ANVIL_VERSION = "1.7.1"
POCO_VERSION = "6.1.0"


class PackagesMissing(Refused):
    """The npm packages could not be installed."""


@dataclass(frozen=True, slots=True)
class PocoPackages:
    """An installation: everything below is complete and never changes again."""

    root: Path

    @property
    def anvil(self) -> Path:
        """The native node. (`.bin/anvil` is a Node program around it, which may orphan it.)"""
        name = "anvil.exe" if sys.platform == "win32" else "anvil"
        return self._scoped("@foundry-rs", f"anvil-{_platform()}", "bin", name)

    @property
    def poco(self) -> Path:
        """The package of the contracts."""
        return self._scoped("@iexec", "poco")

    @property
    def complete(self) -> bool:
        """Whether every file is there."""
        return self.anvil.is_file() and (self.poco / "artifacts").is_dir()

    def _scoped(self, *parts: str) -> Path:
        return self.root.joinpath("node_modules", *parts)


def default_cache() -> Path:
    """Where this user's downloads are kept; `TALLYSTICK_CACHE` moves it."""
    chosen = os.environ.get("TALLYSTICK_CACHE")
    return Path(chosen) if chosen else user_cache_path("tallystick")


def packages(
    cache: Path | None = None, *, say: Callable[[str], None] = lambda _: None
) -> PocoPackages:
    """The installed packages; installs them when they are not there yet.

    Works without a network once they are. Several processes may ask at once. `say` is told,
    in a sentence, when something takes its time. Raises NpmMissing or PackagesMissing.
    """
    home = cache or default_cache()
    wanted = PocoPackages(home / f"poco-{POCO_VERSION}-anvil-{ANVIL_VERSION}")
    if wanted.complete:
        return wanted
    home.mkdir(parents=True, exist_ok=True)
    with _only_one(home / "install.lock"):
        if not wanted.complete:
            _install(home, wanted, say)
    return wanted


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install(home: Path, wanted: PocoPackages, say: Callable[[str], None]) -> None:
    say(f"Installing Anvil {ANVIL_VERSION} and the PoCo contracts {POCO_VERSION} (once).")
    npm = npm_command(home)
    partial = PocoPackages(wanted.root.with_name(f"{wanted.root.name}.partial"))
    shutil.rmtree(partial.root, ignore_errors=True)
    try:
        _write_recipe(partial.root)
        _run(npm, partial.root)
        if not partial.complete:
            raise PackagesMissing(
                f"npm has no Anvil {ANVIL_VERSION} for this machine ({_platform()}); the local "
                "chain runs on Linux and macOS with an x86-64 or ARM64 processor."
            )
        shutil.rmtree(wanted.root, ignore_errors=True)
        partial.root.rename(wanted.root)
    finally:
        shutil.rmtree(partial.root, ignore_errors=True)


def _write_recipe(folder: Path) -> None:
    stub = folder / "stub"
    stub.mkdir(parents=True)
    (stub / "package.json").write_text('{"name": "stub", "version": "0.0.0"}\n')
    for name in ("package.json", "package-lock.json"):
        recipe = resources.files("tallystick.devnet") / "npm" / name
        (folder / name).write_text(recipe.read_text())


def _run(npm: list[str], folder: Path) -> None:
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]
    # Behind a proxy of the house its certificate is in the system's store, not in Node's own.
    settings = {"NODE_USE_SYSTEM_CA": "1", **os.environ}
    answer = subprocess.run(
        [*npm, "ci", *options],
        cwd=folder,
        env=settings,
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        raise PackagesMissing(
            f"npm could not install @foundry-rs/anvil {ANVIL_VERSION} and @iexec/poco "
            f"{POCO_VERSION} ({_reason(answer.stderr)}). Check the network and npm's "
            "registry setting, and start again."
        )


def _reason(errors: str) -> str:
    told = [line.split(" ", 2)[-1] for line in errors.splitlines() if line.startswith("npm ")]
    return told[0] if told else "it did not say why"


def _platform() -> str:
    system = {"linux": "linux", "darwin": "darwin", "win32": "win32"}.get(sys.platform, "other")
    arch = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
    machine = platform.machine().lower()
    return f"{system}-{arch.get(machine, machine)}"
