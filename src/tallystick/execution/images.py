"""Images on disk, unpacked once and shared read-only by all jobs that use them."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
from pydantic import TypeAdapter, ValidationError

from tallystick.engine.errors import Unavailable
from tallystick.execution.executor import (
    MIB,
    Handmade,
    ImageRef,
    ImageUnavailable,
)
from tallystick.execution.layers import Budget, Unpacker, inflate
from tallystick.execution.locks import alone
from tallystick.execution.output import remove_tree
from tallystick.execution.pulls import PullPolicy, Sizes, not_here
from tallystick.execution.registry import Blob, Manifest, Registry, require_size
from tallystick.execution.rootfs import Facts, complete
from tallystick.execution.sandbox import ImageConfig, read_config
from tallystick.execution.tasks import together

_FACTS = TypeAdapter(Facts)


_FORGOTTEN = 86_400.0
"""Seconds after which a download that was cut short is not gone on with."""


@dataclass(frozen=True, slots=True)
class Image:
    """An unpacked image."""

    folder: Path
    facts: Facts

    @property
    def rootfs(self) -> Path:
        """What the job will see as `/`."""
        return self.folder / "rootfs"


@dataclass(slots=True)
class ImageStore:
    """The images below one folder, which one user of the machine owns."""

    root: Path
    base: int | None
    """Host user that image user 0 belongs to; None without root: all is the owner's."""
    sizes: Sizes = field(default_factory=Sizes)
    credentials: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False)
    policy: PullPolicy = "missing"
    _locks: dict[str, anyio.Lock] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("images", "refs", "tmp", "partial", "locks"):
            (self.root / name).mkdir(parents=True, exist_ok=True)

    async def fetch(self, ref: ImageRef, time_limit: float) -> Image:
        """The image, from here or from its registry.

        A digest never changes its meaning, so what is here is taken; a tag is asked again.
        Raises ImageUnavailable or Unavailable.
        """
        lock = self._locks.setdefault(str(ref), anyio.Lock())
        async with lock:
            if (image := self.find(ref)) and self._good_enough(ref):
                return image
            if self.policy == "never":
                raise not_here(ref)
            try:
                with anyio.fail_after(time_limit):
                    return await self._pull(ref, time.monotonic() + time_limit)
            except TimeoutError as error:
                raise Unavailable(f"{ref} was not here within {time_limit:g} s.") from error

    async def adopt(self, image: Handmade) -> None:
        """Have an image here that is in no registry."""
        if self.find(image.ref):
            return
        digest, config = image.ref.version, ImageConfig(entrypoint=image.entrypoint)
        blob, scratch = Blob(digest, len(image.layer)), self._scratch()
        manifest = Manifest(digest, blob, (blob,))
        try:
            _file(scratch, blob).write_bytes(image.layer)
            work = _Work(scratch, scratch, manifest, config, (digest,))
            await _unpack_in_thread(work, Budget(MIB, 100, float("inf")), self.base)
            self._publish(scratch, digest.partition(":")[2])
            self._point(image.ref, digest.partition(":")[2])
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(remove_tree, scratch)

    def _good_enough(self, ref: ImageRef) -> bool:
        """Whether what is here by that reference is what it means."""
        return self.policy == "never" or (self.policy == "missing" and ref.digest is not None)

    def find(self, ref: ImageRef) -> Image | None:
        """The image, when it is here already."""
        try:
            name = self._pointer(ref).read_text()
        except OSError:
            return None
        return self._read(self.root / "images" / name)

    def _read(self, folder: Path) -> Image | None:
        try:
            return Image(folder, _FACTS.validate_json((folder / "facts.json").read_bytes()))
        except (OSError, ValidationError):
            return None

    @contextmanager
    def using(self, image: Image) -> Iterator[None]:
        """Keep the image from being evicted, and remember that it was of use."""
        try:
            lock = os.open(image.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise Unavailable("The image has just been evicted; it must be fetched.") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_SH)
            if not image.rootfs.is_dir():
                raise Unavailable("The image has just been evicted; it must be fetched.")
            os.utime(lock)
            yield
        finally:
            os.close(lock)

    def evict(self) -> None:
        """Remove the least recently used images until what is kept fits."""
        found = sorted(self._all(), key=_last_use, reverse=True)
        total = 0
        for image in found:
            total += image.facts.size
            if total > self.sizes.keep and image is not found[0]:
                self._discard(image.folder)

    def sweep(self) -> None:
        """Remove what pulls left that were killed, and what is too much."""
        for folder in (self.root / "partial").iterdir():
            if time.time() - folder.stat().st_mtime > _FORGOTTEN:
                remove_tree(folder)
        for folder in (self.root / "tmp").iterdir():
            if not _is_alive(folder.name.partition("-")[0]):
                remove_tree(folder)
        self.evict()

    def _all(self) -> Iterator[Image]:
        for folder in (self.root / "images").iterdir():
            if image := self._read(folder):
                yield image

    def _discard(self, folder: Path) -> None:
        """Remove an image, unless it is in use."""
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            grave = self._scratch()
            folder.rename(grave / "image")
        except BlockingIOError:
            return
        finally:
            os.close(lock)
        remove_tree(grave)

    def _pointer(self, ref: ImageRef) -> Path:
        return (
            self.root
            / "refs"
            / hashlib.sha256(f"{ref.name} {ref.version}".encode()).hexdigest()
        )

    def _scratch(self) -> Path:
        folder = self.root / "tmp" / f"{os.getpid()}-{time.monotonic_ns()}"
        folder.mkdir()
        return folder

    async def _pull(self, ref: ImageRef, deadline: float) -> Image:
        async with Registry(ref.registry, self.credentials.get(ref.registry)) as registry:
            manifest = await registry.manifest(ref)
            name = manifest.digest.partition(":")[2]
            async with alone(self.root / "locks" / name):
                if self._read(self.root / "images" / name) is None:
                    await self._bring(registry, ref, manifest, deadline)
                self._point(ref, name)
        await anyio.to_thread.run_sync(self.evict)
        image = self.find(ref)
        if image is None:
            raise Unavailable(f"{ref} was fetched, but is gone again.")
        return image

    async def _bring(
        self, registry: Registry, ref: ImageRef, manifest: Manifest, deadline: float
    ) -> None:
        """Download and unpack. Layers stay for the next attempt when there is no time left."""
        name = manifest.digest.partition(":")[2]
        partial, scratch = self.root / "partial" / name, self._scratch()
        partial.mkdir(exist_ok=True)
        try:
            await self._download(registry, ref, manifest, partial)
            await self._unpack(partial, manifest, scratch, deadline)
            self._publish(scratch, name)
            await anyio.to_thread.run_sync(remove_tree, partial)
        except ImageUnavailable:
            await anyio.to_thread.run_sync(remove_tree, partial)
            raise
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(remove_tree, scratch)

    async def _download(
        self, registry: Registry, ref: ImageRef, manifest: Manifest, partial: Path
    ) -> None:
        require_size(ref, manifest, self.sizes.download)
        config = await registry.config(ref, manifest.config)
        (partial / "config.json").write_text(json.dumps(config))
        for blob in dict.fromkeys(manifest.layers):
            await registry.download(ref, blob, _file(partial, blob))

    async def _unpack(
        self, partial: Path, manifest: Manifest, scratch: Path, deadline: float
    ) -> None:
        document = json.loads((partial / "config.json").read_text())
        config = read_config(document.get("config") if isinstance(document, dict) else None)
        budget = Budget(2 * self.sizes.unpacked, self.sizes.entries, deadline)
        work = _Work(
            partial, scratch, manifest, config, _diff_ids(document, len(manifest.layers))
        )
        await _unpack_in_thread(work, budget, self.base)

    def _publish(self, scratch: Path, name: str) -> None:
        target = self.root / "images" / name
        if target.is_dir() and self._read(target) is None:
            # Cut short by a power failure, or left by another version.
            self._discard(target)
        try:
            (scratch / "image").rename(target)
        except OSError:
            # Another process was faster, and by its digest its image is the same.
            if self._read(target) is None:
                raise

    def _point(self, ref: ImageRef, name: str) -> None:
        """Let `ref` mean that image from now on."""
        scratch = self._scratch()
        (scratch / "pointer").write_text(name)
        (scratch / "pointer").replace(self._pointer(ref))
        scratch.rmdir()


@dataclass(frozen=True, slots=True)
class _Work:
    """Unpacking one image; runs in a thread."""

    partial: Path
    """Where its layers are."""
    scratch: Path
    manifest: Manifest
    config: ImageConfig
    diff_ids: tuple[str, ...]

    def unpack(self, budget: Budget, base: int | None) -> None:
        folder = self.scratch / "image"
        rootfs = folder / "rootfs"
        rootfs.mkdir(parents=True)
        unpacker = Unpacker(rootfs, budget, base)
        plain = self.scratch / "layer.tar"
        for blob, diff_id in zip(self.manifest.layers, self.diff_ids, strict=True):
            seen = hashlib.sha256()
            inflate(_file(self.partial, blob), plain, budget, seen.update)
            if f"sha256:{seen.hexdigest()}" != diff_id:
                raise ImageUnavailable("A layer unpacks to something else than the image says.")
            unpacker.apply(plain)
            plain.unlink()
        facts = complete(unpacker, self.config, base)
        (folder / "facts.json").write_text(json.dumps(asdict(facts)))
        _to_disk(folder)


async def _unpack_in_thread(work: _Work, budget: Budget, base: int | None) -> None:
    """Unpack; when cancelled, take the time away from the thread and wait for its end."""

    async def watch() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            budget.deadline = 0.0

    failure: Exception | None = None
    async with together() as group:
        group.start_soon(watch)
        try:
            await anyio.to_thread.run_sync(work.unpack, budget, base)
        except (ImageUnavailable, Unavailable) as error:
            failure = error
        group.cancel_scope.cancel()
    await anyio.lowlevel.checkpoint()
    if failure:
        raise failure


def _to_disk(folder: Path) -> None:
    """An image that a power failure cut short would give wrong results: wait for the disk."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        ctypes.CDLL(None).syncfs(fd)
    finally:
        os.close(fd)


def _diff_ids(document: Any, count: int) -> tuple[str, ...]:
    rootfs = document.get("rootfs")
    ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(ids, list) or len(ids) != count:
        raise ImageUnavailable("The image's configuration does not list its layers.")
    return tuple(str(value) for value in ids)


def _file(partial: Path, blob: Blob) -> Path:
    return partial / blob.digest.replace(":", "-")


def _last_use(image: Image) -> float:
    try:
        return (image.folder / "lock").stat().st_mtime
    except OSError:
        return image.folder.stat().st_mtime


def _is_alive(pid: str) -> bool:
    return pid.isdecimal() and Path("/proc", pid).exists()
