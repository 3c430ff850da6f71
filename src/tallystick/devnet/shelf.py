"""Images on a shelf: OCI layouts by repository, checked before they are handed out."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tallystick.engine.errors import Refused

_REPOSITORY = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*")
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_TAG_OF = "org.opencontainers.image.ref.name"
_LARGEST_MANIFEST = 4 * 2**20
_INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


class BadImage(Refused):
    """The folder is no OCI image layout, or its files are not what their names promise."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest's own bytes; clients hash them."""

    content: bytes
    media_type: str

    @property
    def digest(self) -> str:
        """The digest of its manifest."""
        return f"sha256:{hashlib.sha256(self.content).hexdigest()}"


class Shelf:
    """The images below a folder. Several processes may read it while one adds to it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._checked: set[tuple[Path, int, int]] = set()

    def add(self, repository: str, layout: Path) -> str:
        """Put the image of an OCI layout on the shelf; returns its (first) manifest's digest.

        Images of the same repository that are there already stay; a tag moves to the new one.
        Raises BadImage.
        """
        home = self._home(repository)
        if home is None:
            raise BadImage(f"{repository!r} is no name of a repository.")
        try:
            entries = json.loads((layout / "index.json").read_text())["manifests"]
            first = str(entries[0]["digest"])
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise BadImage(f"{layout} is no OCI image layout.") from error
        for blob in sorted((layout / "blobs" / "sha256").iterdir()):
            _take(blob, home / "blobs" / "sha256" / blob.name)
        tags = self._tags(home) | {_tag(entry): str(entry["digest"]) for entry in entries}
        _write(home / "tags.json", json.dumps(tags, indent=1).encode())
        return first

    def repositories(self) -> list[str]:
        """The names of all images on it."""
        found = self._root.rglob("tags.json") if self._root.is_dir() else ()
        return sorted(str(path.parent.relative_to(self._root)) for path in found)

    def tags(self, repository: str) -> list[str] | None:
        """The tags of a repository; None when there is none of this name."""
        home = self._home(repository)
        return sorted(self._tags(home)) if home is not None and home.is_dir() else None

    def manifest(self, repository: str, reference: str) -> Manifest | None:
        """The manifest which a tag or a digest means; None when there is none."""
        home = self._home(repository)
        if home is None:
            return None
        path = self.blob(repository, self._tags(home).get(reference, reference))
        if path is None or path.stat().st_size > _LARGEST_MANIFEST:
            return None
        content = path.read_bytes()
        media_type = _media_type(content)
        return Manifest(content, media_type) if media_type else None

    def blob(self, repository: str, digest: str) -> Path | None:
        """The file with these bytes; None when there is none. Raises BadImage if it changed."""
        home, named = self._home(repository), _DIGEST.fullmatch(digest)
        if home is None or named is None:
            return None
        path = home / "blobs" / "sha256" / named.group(1)
        if not path.is_file():
            return None
        self._check(path)
        return path

    def _home(self, repository: str) -> Path | None:
        return self._root / repository if _REPOSITORY.fullmatch(repository) else None

    @staticmethod
    def _tags(home: Path) -> dict[str, str]:
        try:
            tags: dict[str, str] = json.loads((home / "tags.json").read_text())
        except FileNotFoundError:
            return {}
        return tags

    def _check(self, path: Path) -> None:
        status = path.stat()
        state = (path, status.st_size, status.st_mtime_ns)
        if state not in self._checked:
            _verify(path)
            self._checked.add(state)


def _tag(entry: Mapping[str, Any]) -> str:
    return str(entry.get("annotations", {}).get(_TAG_OF, "latest"))


def _media_type(content: bytes) -> str | None:
    """What a manifest says it is; None for other bytes."""
    try:
        value = json.loads(content)
    except ValueError:
        return None
    if not isinstance(value, dict) or value.get("schemaVersion") != 2:
        return None
    guess = _INDEX_TYPE if "manifests" in value else _MANIFEST_TYPE
    return str(value.get("mediaType", guess))


def _take(blob: Path, target: Path) -> None:
    """Copy a blob, without its bytes where the file system allows it."""
    _verify(blob)
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(blob, target)
    except OSError:
        draft = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.copyfile(blob, draft)
        draft.replace(target)


def _verify(blob: Path) -> None:
    with blob.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != blob.name:
        raise BadImage(f"{blob} holds other bytes than its name says ({found}).")


def _write(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(content)
    draft.replace(path)
