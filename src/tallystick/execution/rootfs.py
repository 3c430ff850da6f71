"""The last touches to an unpacked image: what a job expects to find, and who it will be."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tallystick.execution.executor import MIB
from tallystick.execution.layers import Unpacker
from tallystick.execution.sandbox import (
    HOSTNAME,
    INPUT,
    OUTPUT,
    TMP,
    Identity,
    ImageConfig,
    home_of,
    is_vacant,
    resolve_user,
)

_MOUNT_POINTS = ("/proc", "/sys", "/dev", TMP, INPUT, OUTPUT)
_HOSTS = f"127.0.0.1\tlocalhost {HOSTNAME}\n::1\tlocalhost\n"


@dataclass(frozen=True, slots=True)
class Facts:
    """What must be known of an image to run it, beside its files."""

    config: ImageConfig
    who: Identity
    home_vacant: bool
    size: int
    """Bytes on disk."""


def complete(unpacker: Unpacker, config: ImageConfig, base: int | None) -> Facts:
    """Make the mount points, for the root is read-only later, and read the image's users."""
    for name in _MOUNT_POINTS:
        _real_folder(unpacker, name, base)
    who = resolve_user(
        config.user, _text(unpacker, "/etc/passwd"), _text(unpacker, "/etc/group")
    )
    home = unpacker.root / home_of(config, who).lstrip("/")
    vacant = _prepare_home(unpacker, home, base)
    cwd = unpacker.resolve(config.cwd)
    if not cwd.exists() and not cwd.is_symlink():
        _make(unpacker, cwd, base)
    hosts = unpacker.resolve("/etc/hosts")
    if hosts.parent.is_dir() and not hosts.exists() and not hosts.is_symlink():
        hosts.write_text(_HOSTS)
    _plain_resolver(unpacker)
    unpacker.root.chmod(0o755)
    if base is not None:
        os.chown(unpacker.root, base, base)
    return Facts(config, who, vacant, _size(unpacker.root))


def _real_folder(unpacker: Unpacker, name: str, base: int | None) -> None:
    """A folder right below the root; a link there would lead our mount astray."""
    path = unpacker.root / name.lstrip("/")
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        path.unlink()
    if not path.exists():
        _make(unpacker, path, base)


def _plain_resolver(unpacker: Unpacker) -> None:
    """/etc/resolv.conf as a file of its own, over which another can be mounted."""
    path = unpacker.root / "etc" / "resolv.conf"
    if path.parent.is_symlink() or not path.parent.is_dir() or path.is_dir():
        return
    if path.is_symlink():
        path.unlink()
    path.touch()


def _prepare_home(unpacker: Unpacker, home: Path, base: int | None) -> bool:
    """Whether a fresh folder may be mounted over the image's HOME; makes it if it lacks."""
    if home == unpacker.root or unpacker.resolve(str(home.relative_to(unpacker.root))) != home:
        return False
    if home.is_symlink() or (home.exists() and not home.is_dir()):
        return False
    if not home.exists():
        _make(unpacker, home, base)
    return is_vacant(frozenset(entry.name for entry in home.iterdir()))


def _make(unpacker: Unpacker, path: Path, base: int | None) -> None:
    missing = [path]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    for folder in reversed(missing):
        folder.mkdir(mode=0o755)
        if base is not None:
            os.chown(folder, base, base)


def _text(unpacker: Unpacker, name: str) -> str:
    """A small file of the image, found without ever leaving it."""
    path = unpacker.resolve(name)
    for _ in range(10):
        if not path.is_symlink():
            break
        target = os.readlink(path)
        folder = "/" if target.startswith("/") else f"/{path.parent.relative_to(unpacker.root)}"
        path = unpacker.resolve(f"{folder}/{target}")
    if path.is_symlink() or not path.is_file():
        return ""
    with path.open("rb") as file:
        return file.read(MIB).decode(errors="replace")


def _size(root: Path) -> int:
    total = 0
    for folder, _, files in os.walk(root):
        for name in files:
            total += os.lstat(os.path.join(folder, name)).st_blocks * 512
    return total
