"""Writes OCI image layouts: a folder of blobs named by their SHA-256.

The same files give the same bytes: entries are sorted, times zero, all belongs to root.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
EPOCH = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class File:
    """A regular file: its bytes, or the file of this machine that has them."""

    content: bytes | Path
    mode: int = 0o644

    def read(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory; parents of files need not be listed."""

    mode: int = 0o755


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link."""

    target: str


Tree = Mapping[str, File | Folder | Link]
"""What an image holds, by path without a leading slash."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob of the layout, as a manifest refers to it."""

    media_type: str
    digest: str
    size: int

    def descriptor(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True, slots=True)
class Layer:
    """A compressed layer and the digest of its tar, which the image's configuration lists."""

    blob: Blob
    diff_id: str


def write_blob(layout: Path, content: bytes, media_type: str) -> Blob:
    """Store `content` under its digest."""
    name = hashlib.sha256(content).hexdigest()
    folder = layout / "blobs" / "sha256"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return Blob(media_type, f"sha256:{name}", len(content))


def write_layer(layout: Path, tree: Tree) -> Layer:
    """Pack `tree` as one layer."""
    tar = pack(tree)
    squeezed = io.BytesIO()
    with gzip.GzipFile(
        filename="", mode="wb", compresslevel=6, fileobj=squeezed, mtime=0
    ) as out:
        out.write(tar)
    blob = write_blob(layout, squeezed.getvalue(), LAYER_TYPE)
    return Layer(blob, f"sha256:{hashlib.sha256(tar).hexdigest()}")


def write_image(layout: Path, layers: list[Layer], config: Mapping[str, Any]) -> Blob:
    """Join layers and configuration into an image; return its manifest."""
    described = {
        "architecture": config["architecture"],
        "os": "linux",
        "created": EPOCH,
        "config": config["config"],
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created": EPOCH, "created_by": "tally"} for _ in layers],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": write_blob(layout, _json(described), CONFIG_TYPE).descriptor(),
        "layers": [layer.blob.descriptor() for layer in layers],
    }
    image = write_blob(layout, _json(manifest), MANIFEST_TYPE)
    entry = {**image.descriptor(), "annotations": {"org.opencontainers.image.ref.name": "1"}}
    index = {"schemaVersion": 2, "manifests": [entry]}
    (layout / "index.json").write_bytes(_json(index))
    (layout / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
    return image


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def pack(tree: Tree) -> bytes:
    """A tar of `tree` that depends on nothing else."""
    whole = {**{parent: Folder() for path in tree for parent in _parents(path)}, **tree}
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(whole):
            _add(tar, path, whole[path])
    return stream.getvalue()


def _parents(path: str) -> list[str]:
    return [str(parent) for parent in PurePosixPath(path).parents if str(parent) != "."]


def _add(tar: tarfile.TarFile, path: str, entry: File | Folder | Link) -> None:
    info = tarfile.TarInfo(path)
    match entry:
        case File():
            content = entry.read()
            info.size, info.mode = len(content), entry.mode
            tar.addfile(info, io.BytesIO(content))
        case Folder():
            info.type, info.mode = tarfile.DIRTYPE, entry.mode
            tar.addfile(info)
        case Link():
            info.type, info.linkname, info.mode = tarfile.SYMTYPE, entry.target, 0o777
            tar.addfile(info)
