"""A small file system of its own for what a job writes: full is full, to the block.

An ext4 in a sparse file on a loop device. Needs root; `usable` says whether it works here,
and where it does not, what a job writes is measured instead.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tallystick.engine.errors import Unavailable
from tallystick.execution.executor import MIB, Limits

_CONTROL = Path("/dev/loop-control")
_GET_FREE, _CONFIGURE, _CLEAR = 0x4C82, 0x4C0A, 0x4C01
_AUTOCLEAR = 4
_BLOCK = 4_096
_INODE = 256
_SYSTEM_INODES = 16
_SLACK = 2 * MIB
_FEW_BLOCKS = 4
_SEARCH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"


def _program(name: str) -> str | None:
    return shutil.which(name, path=_SEARCH)


def usable() -> bool:
    """Whether file systems can be made and attached here."""
    tools = _program("mkfs.ext4") and _program("debugfs")
    return bool(tools) and os.geteuid() == 0 and os.access(_CONTROL, os.R_OK | os.W_OK)


@dataclass(frozen=True, slots=True)
class Disks:
    """Makes disks. Empty file systems are kept in `templates` and copied, which is quick."""

    templates: Path

    def make(self, target: Path, limits: Limits, owner: tuple[int, int]) -> None:
        """Write a fresh file system to `target`: empty, its root folder `owner`'s.

        It holds what `limits` allows, and hardly more. Raises Unavailable.
        """
        uid, gid = owner
        template = self.templates / f"ext4-{limits.disk}-{limits.files}-{uid}-{gid}"
        if not template.exists():
            self.templates.mkdir(parents=True, exist_ok=True)
            fresh = target.with_suffix(".new")
            _format(fresh, limits, owner)
            fresh.replace(template)
        _copy_sparse(template, target)


def _format(file: Path, limits: Limits, owner: tuple[int, int]) -> None:
    inodes = limits.files + _SYSTEM_INODES
    # Folders and maps of large files take blocks, too: a little more than what is promised.
    size = limits.disk + limits.disk // 64 + inodes * _INODE + _SLACK
    with file.open("wb") as new:
        new.truncate(-(-size // _BLOCK) * _BLOCK)
    options = f"lazy_itable_init=1,nodiscard,root_owner={owner[0]}:{owner[1]}"
    features = "^has_journal,^resize_inode,^metadata_csum,^huge_file"
    _call("mkfs.ext4", "-q", "-F", "-b", str(_BLOCK), "-m", "0", "-I", str(_INODE), "-N",
          str(inodes), "-O", features, "-E", options, str(file))  # fmt: skip
    _call("debugfs", "-w", "-R", "rmdir lost+found", str(file))


def _call(name: str, *words: str) -> None:
    done = subprocess.run(
        [_program(name) or name, *words], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise Unavailable(f"{name} could not make a disk for the job: {done.stderr.strip()}.")


def _copy_sparse(source: Path, target: Path) -> None:
    with source.open("rb") as old, target.open("wb") as new:
        size = os.fstat(old.fileno()).st_size
        new.truncate(size)
        start = 0
        while start < size:
            try:
                start = os.lseek(old.fileno(), start, os.SEEK_DATA)
            except OSError:
                break
            end = os.lseek(old.fileno(), start, os.SEEK_HOLE)
            while start < end:
                start += os.copy_file_range(
                    old.fileno(), new.fileno(), end - start, start, start
                )


def is_full(folder: Path) -> bool:
    """Whether the disk mounted at `folder` has no room left, or no inode."""
    room = os.statvfs(folder)
    return room.f_bfree <= _FEW_BLOCKS or room.f_ffree == 0


def attach(file: Path, *, autoclear: bool) -> tuple[Path, int]:
    """A loop device on `file`, and a descriptor of it that the caller closes.

    With `autoclear` the device is free again when its last user is gone, a crash included.
    Raises Unavailable when there is none to have.
    """
    backing = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    try:
        return _attach(backing, str(file), _AUTOCLEAR if autoclear else 0)
    except OSError as error:
        raise Unavailable(f"No loop device can be had for a job's disk: {error}.") from error
    finally:
        os.close(backing)


def _attach(backing: int, name: str, flags: int) -> tuple[Path, int]:
    info = struct.pack("<5Q4I64s64s32s2Q", 0, 0, 0, 0, 0, 0, 0, 0, flags,
                       os.fsencode(name)[-63:], b"", b"", 0, 0)  # fmt: skip
    config = struct.pack("<II", backing, 0) + info + bytes(64)
    control = os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(64):
            path = Path(f"/dev/loop{fcntl.ioctl(control, _GET_FREE)}")
            if (device := _configured(path, config)) is not None:
                return path, device
    finally:
        os.close(control)
    raise OSError(errno.EBUSY, "all are taken")


def _configured(path: Path, config: bytes) -> int | None:
    """A descriptor of the device with that configuration; None when another was faster."""
    _make_node(path)
    device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(device, _CONFIGURE, config)
    except OSError as error:
        os.close(device)
        if error.errno == errno.EBUSY:
            return None
        raise
    return device


def _make_node(path: Path) -> None:
    """Where nobody looks after /dev, the node of a new device has to be made."""
    if not path.exists():
        number = int(path.name.removeprefix("loop"))
        os.mknod(path, 0o600 | stat.S_IFBLK, os.makedev(7, number))


def device_on(file: Path) -> Path | None:
    """The device that was attached to `file`, by whatever process."""
    wanted = str(file.resolve())
    for entry in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            if entry.read_text().strip() == wanted:
                return Path("/dev", entry.parts[3])
    return None


def detach(device: Path) -> None:
    """Free a device; when it is still mounted, as soon as it no longer is."""
    with contextlib.suppress(OSError):
        fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.ioctl(fd, _CLEAR)
        finally:
            os.close(fd)


def detach_below(folder: Path) -> None:
    """Free every device on a file below `folder`, deleted ones included."""
    for entry in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            backing = entry.read_text().strip().removesuffix(" (deleted)")
            if Path(backing).is_relative_to(folder.resolve()):
                detach(Path("/dev", entry.parts[3]))
