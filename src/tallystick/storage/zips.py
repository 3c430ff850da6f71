"""Reading zips that strangers made, without being led out of a folder or out of memory."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from tallystick.engine.errors import Refused

_CHUNK: Final = 1 << 20
_PACKINGS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_LONGEST_NAME: Final = 255
_DEEPEST: Final = 64
_DIRECTORY_BYTES: Final = 46 + 1024
"""What one entry may take in the zip's directory, which is read into memory as a whole."""
_END: Final = struct.Struct("<4s4H2LH")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR: Final = struct.Struct("<4sLQL")


class BadArchive(Refused):
    """The file is no zip that we would unpack."""


@dataclass(frozen=True, slots=True)
class CheckedZip:
    """A zip whose names are safe and unique, and whose sizes are within the limits.

    It can be read as an app's output (`digest.Output`). Reading raises `BadArchive` where the
    content is damaged.
    """

    files: dict[str, zipfile.ZipInfo]
    _archive: zipfile.ZipFile

    def chunks(self, path: str) -> Iterator[bytes]:
        """The content of a file. Never more than the size that was checked at opening."""
        if path not in self.files:
            raise FileNotFoundError(path)
        with _reading(path), self._archive.open(self.files[path]) as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk

    def children(self, path: str) -> list[str] | None:
        """The names of the files directly in the folder `path`; None if it is no folder."""
        prefix = f"{path}/" if path else ""
        below = [name[len(prefix) :] for name in self.files if name.startswith(prefix)]
        return [name for name in below if "/" not in name] if below else None


@contextmanager
def open_zip(path: Path, *, max_bytes: int, max_files: int) -> Iterator[CheckedZip]:
    """Open the zip at `path`. Raises `BadArchive` with the reason why it is not to be read."""
    with path.open("rb") as raw:
        if _directory_size(raw) > max_files * _DIRECTORY_BYTES:
            raise BadArchive("The result has too many files, or too long names.")
        with _reading("its directory"):
            archive = zipfile.ZipFile(raw)
        with archive:
            # Asked of the name itself: `is_dir` fails for an entry without one.
            entries = [info for info in archive.infolist() if info.filename[-1:] != "/"]
            yield CheckedZip(_checked(entries, max_bytes, max_files), archive)


def _checked(
    entries: list[zipfile.ZipInfo], max_bytes: int, max_files: int
) -> dict[str, zipfile.ZipInfo]:
    if len(entries) > max_files:
        raise BadArchive(f"The result has {len(entries):,} files; {max_files:,} are allowed.")
    total = sum(entry.file_size for entry in entries)
    if total > max_bytes:
        raise BadArchive(f"The result has {total:,} bytes; {max_bytes:,} are allowed.")
    files: dict[str, zipfile.ZipInfo] = {}
    for entry in entries:
        name = _safe_name(entry)
        if name in files:
            raise BadArchive(f"The result has two files {name!r}.")
        files[name] = entry
    return files


def _safe_name(entry: zipfile.ZipInfo) -> str:
    """The name, when it stays inside a folder. Raises `BadArchive`."""
    name = entry.filename
    parts = name.split("/")
    if (
        any(part in ("", ".", "..") or len(part.encode()) > _LONGEST_NAME for part in parts)
        or len(parts) > _DEEPEST
        or "\0" in entry.orig_filename
    ):
        raise BadArchive(f"The result has a file with the forbidden name {name[:100]!r}.")
    if entry.flag_bits & 1 or entry.compress_type not in _PACKINGS:
        raise BadArchive(f"The file {name!r} is packed in a way that results do not use.")
    return name


def _directory_size(raw: IO[bytes]) -> int:
    """Bytes of the zip's directory, by the same records that `zipfile` will follow."""
    size = raw.seek(0, 2)
    raw.seek(max(0, size - _END.size - _LOCATOR.size - (1 << 16)))
    tail = raw.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        raise BadArchive("The result is not a zip.")
    directory: int = _END.unpack_from(tail, at)[5]
    locator = tail[max(0, at - _LOCATOR.size) : at]
    if locator.startswith(b"PK\x06\x07") and len(locator) == _LOCATOR.size:
        raw.seek(max(0, size - len(tail) + at - _LOCATOR.size - _END64.size))
        record = raw.read(_END64.size)
        if len(record) == _END64.size and record.startswith(b"PK\x06\x06"):
            directory = _END64.unpack(record)[8]
    raw.seek(0)
    return directory


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """Turn what the zip library raises on hostile bytes into `BadArchive`."""
    try:
        yield
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        ValueError,
        OverflowError,
        RuntimeError,
        struct.error,
    ) as trouble:
        raise BadArchive(f"The result cannot be unpacked: {what} is damaged.") from trouble
