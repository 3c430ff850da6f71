"""Unpacking image layers that a stranger made: nothing lands outside, nothing has no end.

Names and links are resolved inside the image's own root; devices, pipes and set-id bits are
left out; bytes, entries and seconds are counted. Works without root: then everything belongs
to the one who unpacks.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import zstandard

from tallystick.engine.disk import out_of_room
from tallystick.engine.errors import NoRoom, Unavailable
from tallystick.execution.executor import MIB, ImageNotForUs, ImageUnavailable

_CHUNK = MIB
_MAX_HEADER = 4 * MIB
"""A tar header (long names, attributes) is read in one piece; more than this is an attack."""
_MAX_LINKS = 40
_DEEPEST = 256
"""Folders in folders. What removes them calls itself for each."""
_OPAQUE = ".wh..wh..opq"
_WHITEOUT = ".wh."


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


@dataclass(slots=True)
class Budget:
    """What one image may cost in all: counted down while it is unpacked."""

    bytes: int
    entries: int
    deadline: float
    """By time.monotonic()."""

    def take(self, size: int) -> None:
        """Pay for `size` bytes, and look at the clock. Raises when something is used up."""
        self.bytes -= size
        if self.bytes < 0:
            raise ImageNotForUs("The image is larger than allowed once it is unpacked.")
        if time.monotonic() > self.deadline:
            raise Unavailable("The image could not be unpacked in the time given for it.")

    def take_entry(self) -> None:
        """Pay for one file, folder or link."""
        self.entries -= 1
        if self.entries < 0:
            raise ImageNotForUs("The image holds more files than allowed.")
        self.take(0)


def inflate(blob: Path, target: Path, budget: Budget, seen: Callable[[bytes], None]) -> None:
    """The plain tar of a layer that may be gzip, zstd or plain, whatever its label says.

    `seen` is given every piece, to make a digest of it. Raises ImageUnavailable for a broken
    or endless one.
    """
    with blob.open("rb") as raw, target.open("wb") as out:
        try:
            for chunk in _plain(raw):
                budget.take(len(chunk))
                seen(chunk)
                out.write(chunk)
        except (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError) as error:
            raise ImageUnavailable(f"A layer of the image cannot be read: {error}.") from error


def _plain(raw: BinaryIO) -> Iterator[bytes]:
    magic = raw.read(4)
    raw.seek(0)
    source: _Readable = raw
    if magic[:2] == b"\x1f\x8b":
        source = cast("_Readable", gzip.GzipFile(fileobj=raw))
    elif magic == b"\x28\xb5\x2f\xfd":
        window = zstandard.ZstdDecompressor(max_window_size=128 * MIB)
        source = cast("_Readable", window.stream_reader(raw, read_across_frames=True))
    while chunk := source.read(_CHUNK):
        yield chunk


class _Guarded:
    """A tar file whose headers cannot ask for gigabytes of memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.name = "layer"
        self.mode = "rb"

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_HEADER:
            raise ImageUnavailable("A layer of the image has an oversized header.")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


@dataclass(slots=True)
class Unpacker:
    """Lays layers over each other in `root`, which nobody else uses meanwhile."""

    root: Path
    budget: Budget
    base: int | None
    """Added to owner ids, so that they mean nobody on the host; None: leave owners alone."""
    strip: str = ""
    """Taken off the front of every name."""
    whiteouts: bool = True
    """Whether names that begin with `.wh.` remove what lower layers have."""
    at_least: int = 0
    """Permissions that every file gets."""
    _made: set[Path] = field(default_factory=set)
    _folders: list[tuple[Path, int, float]] = field(default_factory=list)

    def apply(self, layer: Path) -> None:
        """Unpack one plain tar over what is there.

        Raises ImageUnavailable for a tar that is broken or wants out.
        """
        self._made, self._folders = set(), []
        try:
            with layer.open("rb") as file:
                guarded = cast("BinaryIO", _Guarded(file))
                with tarfile.open(fileobj=guarded, mode="r:") as tar:
                    for member in tar:
                        self.budget.take_entry()
                        self._add(tar, member)
                        cast("Any", tar).members = []
            self._date_folders()
        except (tarfile.TarError, OSError, ValueError, OverflowError, EOFError) as error:
            if out_of_room(error):
                raise NoRoom(f"There is no room here for the image: {error}.") from error
            raise ImageUnavailable(
                f"A layer of the image cannot be unpacked: {error}."
            ) from error

    def _date_folders(self) -> None:
        """When nothing more is put into them. A time of a stranger may be none."""
        for path, mode, modified in reversed(self._folders):
            if path.is_dir() and not path.is_symlink():
                path.chmod(mode)
                os.utime(path, (modified, modified))

    def resolve(self, name: str) -> Path:
        """The place of `name` in the image, its links followed as if `root` were `/`.

        The last part is not followed. Raises ImageUnavailable for a maze of links.
        """
        done, rest, links = self.root, _parts(name), 0
        while rest:
            part = rest.pop(0)
            if part == "..":
                done = done if done == self.root else done.parent
                continue
            step = done / part
            if rest and step.is_symlink():
                links += 1
                if links > _MAX_LINKS:
                    raise ImageUnavailable("The image's links lead round in circles.")
                target = os.readlink(step)
                done = self.root if target.startswith("/") else done
                rest = _parts(target) + rest
                continue
            done = step
        return done

    def _add(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = self.resolve(member.name.removeprefix(self.strip))
        if path == self.root or not _inside(path, self.root):
            return
        if len(path.parts) - len(self.root.parts) > _DEEPEST:
            raise ImageUnavailable(f"The image has folders more than {_DEEPEST} deep.")
        if self.whiteouts and path.name.startswith(_WHITEOUT):
            self._whiteout(path)
            return
        self._make_parents(path)
        if not (member.isdir() and path.is_dir() and not path.is_symlink()):
            _remove(path)
        self._create(tar, member, path)

    def _create(self, tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
        if member.isdir():
            path.mkdir(exist_ok=True)
            self._folders.append((path, (member.mode & 0o1777) | 0o700, member.mtime))
        elif member.isreg():
            self._write(tar, member, path)
        elif member.issym():
            path.symlink_to(member.linkname)
        elif member.islnk():
            self._link(member, path)
            return
        else:
            return
        self._made.add(path)
        self._own(path, member)
        if member.isreg():
            path.chmod((member.mode & 0o777) | self.at_least)
            os.utime(path, (member.mtime, member.mtime))

    def _write(self, tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
        source = tar.extractfile(member)
        if source is None:
            return
        with source, path.open("xb") as target:
            while chunk := source.read(_CHUNK):
                self.budget.take(len(chunk))
                target.write(chunk)
        if path.stat().st_size != member.size:
            raise ImageUnavailable(f"The image's file {member.name[:200]!r} is cut short.")

    def _link(self, member: tarfile.TarInfo, path: Path) -> None:
        target = self.resolve(member.linkname.removeprefix(self.strip))
        if not target.is_symlink() and not target.is_file():
            raise ImageUnavailable(
                f"The image's hard link {member.name[:200]!r} leads nowhere."
            )
        os.link(target, path, follow_symlinks=False)
        self._made.add(path)

    def _whiteout(self, path: Path) -> None:
        """A lower layer's file is gone, or (opaque) all that lower layers had in a folder."""
        folder = path.parent
        if path.name == _OPAQUE:
            if folder.is_dir() and not folder.is_symlink():
                self._clear(folder)
        elif not path.name.startswith(_WHITEOUT * 2):
            name = path.name.removeprefix(_WHITEOUT)
            if name not in ("", ".", ".."):
                _remove(folder / name)

    def _clear(self, folder: Path) -> None:
        """Remove what this layer did not make."""
        for child in list(folder.iterdir()):
            if child not in self._made:
                _remove(child)
            elif child.is_dir() and not child.is_symlink():
                self._clear(child)

    def _make_parents(self, path: Path) -> None:
        missing = []
        parent = path.parent
        while parent != self.root and not (parent.is_dir() and not parent.is_symlink()):
            missing.append(parent)
            parent = parent.parent
        for folder in reversed(missing):
            _remove(folder)
            folder.mkdir(mode=0o755)
            self._own(folder, None)

    def _own(self, path: Path, member: tarfile.TarInfo | None) -> None:
        if self.base is None:
            return
        ids = (member.uid, member.gid) if member else (0, 0)
        uid, gid = (self.base + (n if 0 <= n <= 65_535 else 65_534) for n in ids)
        os.chown(path, uid, gid, follow_symlinks=False)


def _parts(name: str) -> list[str]:
    if "\0" in name:
        raise ImageUnavailable("The image has a file name with a zero byte.")
    return [part for part in name.split("/") if part not in ("", ".")]


def _inside(path: Path, root: Path) -> bool:
    return root in path.parents


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.exists() or path.is_symlink():
        path.unlink()
