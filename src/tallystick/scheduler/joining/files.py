"""The files that a pool hands to those who join: a fixed list, and nothing beside it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tallystick.engine.errors import Refused
from tallystick.scheduler.joining.wheel import Wheel

REQUIREMENTS: Final = "requirements.txt"
SUMS: Final = "SHA256SUMS"
_WHEEL_NAME: Final = re.compile(
    r"(?P<name>[A-Za-z0-9_.]+)-(?P<version>[A-Za-z0-9_.!+]+)(-\d[A-Za-z0-9_.]*)?"
    r"-[A-Za-z0-9_.]+-[A-Za-z0-9_.]+-(?P<platform>[A-Za-z0-9_.]+)\.whl"
)
_ARCHITECTURES: Final = ("x86_64", "aarch64")


class BadWheelhouse(Refused):
    """The folder of wheels cannot be served; the sentence says what to do."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One file: in memory, or on the disk."""

    sha256: str
    size: int
    content: bytes | None = None
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Shelf:
    """Every file by its name."""

    own: str
    """The name of the program's own wheel."""
    files: Mapping[str, Kept]

    @property
    def requirements(self) -> Kept | None:
        """What an installation without an index consists of; None without a wheelhouse."""
        return self.files.get(REQUIREMENTS)

    @property
    def architectures(self) -> tuple[str, ...]:
        """The machines that the wheelhouse is good for."""
        if self.requirements is None:
            return ()
        named = {each for each in _ARCHITECTURES for name in self.files if each in name}
        return tuple(sorted(named)) or _ARCHITECTURES

    @property
    def sums(self) -> str:
        """The text of `SHA256SUMS`, as sha256sum reads it."""
        return "".join(f"{each.sha256}  {name}\n" for name, each in self.files.items())


def shelf(own: Wheel, wheelhouse: Path | None) -> Shelf:
    """The program's wheel and, from the folder `wheelhouse`, those that it needs. Their
    checksums are taken now: what changes afterwards is refused by who fetches it.

    Raises BadWheelhouse.
    """
    files = {own.name: _in_memory(own.content)}
    if wheelhouse is None:
        return Shelf(own.name, files)
    found = dict(_wheels(wheelhouse))
    if not found:
        raise BadWheelhouse(
            f"There are no wheels in {wheelhouse}: get them by tally pool wheelhouse."
        )
    text = _required({own.name: files[own.name], **found}, wheelhouse)
    files[REQUIREMENTS] = _in_memory(text.encode())
    return Shelf(own.name, files | found)


def _in_memory(content: bytes) -> Kept:
    return Kept(hashlib.sha256(content).hexdigest(), len(content), content=content)


def _wheels(folder: Path) -> Iterator[tuple[str, Kept]]:
    try:
        paths = sorted(folder.iterdir())
    except OSError as trouble:
        raise BadWheelhouse(
            f"wheelhouse = {folder} cannot be read: {trouble.strerror}. tally pool wheelhouse"
            f" {folder} makes it."
        ) from trouble
    for path in paths:
        fits = _WHEEL_NAME.fullmatch(path.name)
        if fits and path.is_file() and not path.is_symlink() and fits["name"] != "tallystick":
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            yield path.name, Kept(digest, path.stat().st_size, path=path.resolve())


def _required(files: Mapping[str, Kept], folder: Path) -> str:
    """Every package with its version and the checksums of its wheels, for pip."""
    versions: dict[str, str] = {}
    hashes: dict[str, list[str]] = {}
    for name, each in files.items():
        fits = _WHEEL_NAME.fullmatch(name)
        assert fits is not None
        package = re.sub(r"[-_.]+", "-", fits["name"]).lower()
        if versions.setdefault(package, fits["version"]) != fits["version"]:
            raise BadWheelhouse(
                f"{folder} has {package} in two versions, {versions[package]} and"
                f" {fits['version']}: empty it, and fill it by tally pool wheelhouse."
            )
        hashes.setdefault(package, []).append(f"--hash=sha256:{each.sha256}")
    lines = (f"{name}=={versions[name]} {' '.join(hashes[name])}" for name in sorted(versions))
    return "".join(f"{line}\n" for line in lines)
