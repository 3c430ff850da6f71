"""From the folder that an app filled to the zip that the requester gets, and back.

All of it distrusts what it reads: the folder was filled by a stranger's program, the zip may
have been made by a stranger's worker. All functions block; call them in a thread.
"""

from __future__ import annotations

import json
import os
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from tallystick.poco.values import Digest
from tallystick.storage.digest import COMPUTED, BadOutput, OutputFolder, output_digest
from tallystick.storage.tree import Entry, Kind, TreeTooLarge, remove_tree, walk
from tallystick.storage.zips import BadArchive, CheckedZip, open_zip

_LONGEST_NAME: Final = 31
"""Characters; the protocol refuses results with longer names."""
_UNZIPPABLE: Final = "POST_COMPUTE_OUT_FOLDER_ZIP_FAILED"
_TOO_LONG: Final = "POST_COMPUTE_TOO_LONG_RESULT_FILE_NAME"
_THEN: Final = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultLimits:
    """How large a result may be."""

    max_bytes: int = 200 << 20
    """Of all files together, uncompressed; what sparse files claim counts in full."""
    max_files: int = 10_000
    """Files and folders."""
    max_depth: int = 32
    """Folders in folders."""


DEFAULT_LIMITS: Final = ResultLimits()


def zip_output(out_dir: Path, target: Path, limits: ResultLimits = DEFAULT_LIMITS) -> None:
    """Pack the app's output into the zip `target`, which appears when it is complete.

    Links become empty files, empty folders vanish. The same files give the same bytes. Raises
    `BadOutput` for names that are too long, special files, too much of anything.
    """
    entries = list(_survey(out_dir, limits))
    scratch = target.with_name(target.name + ".part")
    try:
        with (
            _private(scratch) as raw,
            zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            room = limits.max_bytes
            for entry in entries:
                room -= _add(archive, out_dir, entry, room)
        os.replace(scratch, target)
    finally:
        scratch.unlink(missing_ok=True)


def _private(path: Path) -> IO[bytes]:
    path.unlink(missing_ok=True)
    return open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b")


def _survey(out_dir: Path, limits: ResultLimits) -> Iterator[Entry]:
    """The files and links to pack, once all of them are known to be acceptable."""
    found, total = [], 0
    try:
        for entry in walk(out_dir, max_entries=limits.max_files, max_depth=limits.max_depth):
            _check(entry)
            if entry.kind is not Kind.FOLDER:
                total += entry.size if entry.kind is Kind.FILE else 0
                found.append(entry)
    except TreeTooLarge as excess:
        raise BadOutput(_UNZIPPABLE, str(excess)) from excess
    except OSError as trouble:
        raise BadOutput(_UNZIPPABLE, f"it cannot be read ({trouble.strerror})") from trouble
    if total > limits.max_bytes:
        raise _too_large(total, limits.max_bytes)
    yield from found


def _too_large(size: int, limit: int) -> BadOutput:
    return BadOutput(
        _UNZIPPABLE, f"its files claim {size:,} bytes, and a result may have {limit:,}"
    )


def _check(entry: Entry) -> None:
    try:
        length = len(entry.name.encode("utf-16-le")) // 2
    except UnicodeEncodeError as trouble:
        raise BadOutput(_UNZIPPABLE, f"the name {entry.name!r} is not UTF-8") from trouble
    if entry.kind is Kind.SPECIAL:
        raise BadOutput(_UNZIPPABLE, f"{entry.path!r} is a FIFO, a socket or a device")
    if entry.kind is not Kind.FOLDER and length > _LONGEST_NAME:
        raise BadOutput(_TOO_LONG, f"the name of {entry.path!r} has more than 31 characters")


def _add(archive: zipfile.ZipFile, out_dir: Path, entry: Entry, room: int) -> int:
    """Pack one file; returns its size. Raises `BadOutput` when that is more than `room`."""
    info = zipfile.ZipInfo(entry.path, _THEN)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    written = 0
    with archive.open(info, "w", force_zip64=entry.size >= 1 << 31) as packed:
        for chunk in OutputFolder(out_dir).chunks(entry.path):
            written += len(chunk)
            if written > room:
                raise _too_large(written, room)
            packed.write(chunk)
    return written


def digest_of(out_dir: Path, *, callback: bool = False) -> Digest:
    """The digest of an app's output on disk: see `digest.output_digest`. Raises `BadOutput`."""
    return output_digest(OutputFolder(out_dir), callback=callback)


def write_error_result(out_dir: Path, status: str, cause: str) -> None:
    """Make `out_dir` the result of a task whose app or data could not be had.

    The text takes part in the consensus: every implementation has to write the same bytes.
    """
    remove_tree(out_dir)
    out_dir.mkdir(parents=True)
    text = (
        "[IEXEC] Errors occurred while computing the task "
        f"[error:{status}, causes:[WorkflowError[cause={cause}, message=]]]"
    )
    (out_dir / "error.txt").write_bytes(text.encode())
    pointer = {"deterministic-output-path": "/iexec_out/error.txt"}
    (out_dir / COMPUTED).write_text(json.dumps(pointer))


def unpack(archive: Path, target: Path, limits: ResultLimits = DEFAULT_LIMITS) -> None:
    """Unpack a result into the new folder `target`, which appears when it is complete.

    Raises `BadArchive` for a zip that is damaged, too large, leads out of the folder, or holds
    two entries of one name; `FileExistsError` when there is something at `target` already.
    """
    if target.exists():
        raise FileExistsError(f"{target} exists already; choose another folder.")
    scratch = target.with_name(f".{target.name}.part")
    remove_tree(scratch)
    scratch.mkdir(parents=True)
    try:
        with open_zip(
            archive, max_bytes=limits.max_bytes, max_files=limits.max_files
        ) as zipped:
            for name in zipped.files:
                _extract(zipped, name, scratch / name)
        os.rename(scratch, target)
    finally:
        remove_tree(scratch)


def _extract(zipped: CheckedZip, name: str, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as out:
            for chunk in zipped.chunks(name):
                out.write(chunk)
    except (FileExistsError, NotADirectoryError) as clash:
        raise BadArchive(f"The result has {name!r} both as a file and as a folder.") from clash
