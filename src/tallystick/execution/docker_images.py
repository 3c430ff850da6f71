"""The images of a Docker daemon, as far as we had it pull them."""

from __future__ import annotations

import contextlib
import io
import tarfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import anyio

from tallystick.engine.errors import Unavailable
from tallystick.execution.container import LABEL
from tallystick.execution.docker_cache import Layers, Ledger, layers_of, total
from tallystick.execution.engine_api import DaemonRefused, EngineApi, NotThere
from tallystick.execution.executor import (
    MIB,
    Handmade,
    ImageNotForUs,
    ImageRef,
    ImageUnavailable,
)
from tallystick.execution.output import STALE
from tallystick.execution.pulls import PullPolicy, Sizes, not_here
from tallystick.execution.registry import Registry, require_size
from tallystick.execution.sandbox import (
    Identity,
    ImageConfig,
    home_of,
    is_vacant,
    read_config,
    resolve_user,
)

_FORESEE = 20.0
"""Seconds for a look at the registry before the daemon is told to pull."""
_LOOK = "tallystick-probe-"
"""How the names of the containers begin by which images are looked into."""
_PROBE_BYTES = 256 * 1024
"""Read of a folder to see whether anything is in it."""


@dataclass(frozen=True, slots=True)
class Known:
    """What must be known of an image to run it."""

    id: str
    config: ImageConfig
    who: Identity
    home_vacant: bool


@dataclass(slots=True)
class DockerImages:
    """Pulls, inspects and, when it gets too much, removes."""

    api: EngineApi
    ledger: Path
    """File that remembers which images we had pulled: shared by the workers of a machine."""
    sizes: Sizes = field(default_factory=Sizes)
    credentials: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False)
    policy: PullPolicy = "missing"
    _known: dict[str, Known] = field(default_factory=dict)
    _lock: anyio.Lock = field(default_factory=anyio.Lock)
    _ours: Ledger = field(init=False)

    def __post_init__(self) -> None:
        self._ours = Ledger(self.ledger)

    async def fetch(self, ref: ImageRef, time_limit: float) -> Known:
        """Have the image at the daemon, as the policy wants it; check it; look into it.

        Raises ImageUnavailable or Unavailable.
        """
        async with self._lock:
            try:
                with anyio.fail_after(time_limit):
                    await self._bring(ref)
                    known = await self._look(ref)
            except TimeoutError as error:
                raise Unavailable(f"{ref} was not here within {time_limit:g} s.") from error
            except (DaemonRefused, NotThere) as error:
                raise ImageUnavailable(f"{ref} cannot be had: {error}.") from error
            await self.evict()
            return known

    async def _bring(self, ref: ImageRef) -> None:
        name, here = _local_name(ref), await self._is_here(ref)
        ours = not here or name in self._ours.read()
        if self.policy == "never" and not here:
            raise not_here(ref)
        settled = here and (ref.digest is not None or self.policy == "never")
        if self.policy == "always" or not settled:
            await self._foresee(ref)
            auth = self.credentials.get(ref.registry)
            await self.api.pull(ref, auth, self.sizes.download)
        if ours:
            self._ours.touch(name)

    async def _foresee(self, ref: ImageRef) -> None:
        """Ask the registry ourselves how much it is, for what, and whether we may have it.

        Raises ImageNotForUs. Any other trouble is for the daemon to meet, which may have
        another way to the image.
        """
        login = self.credentials.get(ref.registry)
        try:
            with anyio.move_on_after(_FORESEE):
                async with Registry(ref.registry, login) as registry:
                    manifest = await registry.manifest(ref)
                    require_size(ref, manifest, self.sizes.download)
                    await registry.config(ref, manifest.config)
        except ImageNotForUs:
            raise
        except (ImageUnavailable, Unavailable):
            return

    async def know(self, ref: ImageRef, time_limit: float) -> Known:
        """The image, if it is here; else fetch it."""
        known = self._known.get(str(ref))
        if known is None:
            return await self.fetch(ref, time_limit)
        if _local_name(ref) in self._ours.read():
            self._ours.touch(_local_name(ref))
        return known

    async def adopt(self, image: Handmade) -> None:
        """Have an image here that is in no registry."""
        try:
            await self.api.image(image.tag)
        except NotThere:
            await self.api.load_image(image.archive)
        config = ImageConfig(entrypoint=image.entrypoint)
        self._known[str(image.ref)] = Known(image.tag, config, Identity(0, 0), True)

    def forget(self) -> None:
        """Somebody has removed images: look at the daemon again before the next job."""
        self._known.clear()

    async def _is_here(self, ref: ImageRef) -> bool:
        try:
            await self.api.image(_local_name(ref))
        except NotThere:
            return False
        return True

    async def _look(self, ref: ImageRef) -> Known:
        document = await self.api.image(_local_name(ref))
        if ref.digest and not _has_digest(document.get("RepoDigests") or (), ref.digest):
            raise ImageUnavailable(f"{ref}: the daemon has something with another digest.")
        if int(document.get("Size") or 0) > self.sizes.unpacked:
            if _local_name(ref) in self._ours.read():
                await self.api.remove_image(_local_name(ref))
            raise ImageNotForUs(f"{ref} is larger than allowed once it is unpacked.")
        image_id = str(document["Id"])
        same = next((k for k in self._known.values() if k.id == image_id), None)
        known = same or await self._probe(image_id, read_config(document.get("Config")))
        self._known[str(ref)] = known
        return known

    async def _probe(self, image_id: str, config: ImageConfig) -> Known:
        """Read the image's users and look into its HOME, by a container that never runs."""
        name = f"{_LOOK}{time.monotonic_ns()}"
        request = {"Image": image_id, "Cmd": ["-"], "Labels": {LABEL: name}}
        try:
            container = await self.api.create(name, request)
            passwd = await self._text(container, "/etc/passwd")
            group = await self._text(container, "/etc/group")
            who = resolve_user(config.user, passwd, group)
            vacant = await self._is_vacant(container, home_of(config, who))
        finally:
            with anyio.CancelScope(shield=True), contextlib.suppress(Unavailable):
                await self.api.remove(name)
        return Known(image_id, config, who, vacant)

    async def _text(self, container: str, path: str) -> str:
        for member, content in await self._peek(container, path, MIB + 4_096):
            if member.isreg():
                return content.decode(errors="replace")
        return ""

    async def _is_vacant(self, container: str, home: str) -> bool:
        entries = await self._peek(container, home, _PROBE_BYTES)
        top = PurePosixPath(home).name
        if not entries:
            return True
        if not entries[0][0].isdir():
            return False
        paths = (PurePosixPath(member.name).parts for member, _ in entries)
        return is_vacant(frozenset(p[1] for p in paths if len(p) > 1 and p[0] == top))

    async def _peek(
        self, container: str, path: str, limit: int
    ) -> list[tuple[tarfile.TarInfo, bytes]]:
        """The first entries of a file or folder of the image, as far as `limit` bytes go."""
        raw = bytearray()
        try:
            async with self.api.archive(container, path) as chunks:
                async for chunk in chunks:
                    raw += chunk
                    if len(raw) > limit:
                        break
        except NotThere:
            return []
        return _entries(bytes(raw[:limit]))

    async def forget_looks(self) -> None:
        """Remove the containers of looks into images whose process was killed meanwhile."""
        for found in await self.api.containers(LABEL):
            name, age = str(found["Labels"][LABEL]), time.time() - float(found["Created"])
            if name.startswith(_LOOK) and age > STALE:
                await self.api.remove(str(found["Id"]))

    async def evict(self) -> None:
        """Remove what we had pulled and was of no use for longest, until the rest fits.

        What somebody else brought here is not ours to remove; what is in use stays.
        """
        used = self._ours.read()
        kept = {name: layers for name in used if (layers := await self._layers(name))}
        for name in sorted(kept, key=lambda name: used[name])[:-1]:
            if total(kept) <= self.sizes.keep:
                break
            if await self.api.remove_image(name):
                self._ours.drop(name)
                del kept[name]
                self._known.clear()

    async def _layers(self, name: str) -> Layers:
        try:
            return layers_of(await self.api.image(name), await self.api.history(name))
        except NotThere:
            self._ours.drop(name)
            return ()


def _local_name(ref: ImageRef) -> str:
    """How the daemon knows it after the pull."""
    return f"{ref.name}@{ref.digest}" if ref.digest else f"{ref.name}:{ref.tag}"


def _has_digest(repo_digests: object, digest: str) -> bool:
    known = repo_digests if isinstance(repo_digests, list) else []
    return any(str(entry).endswith(f"@{digest}") for entry in known)


def _entries(raw: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
    """What a tar that may be cut short begins with."""
    found = []
    with (
        contextlib.suppress(tarfile.TarError, EOFError),
        tarfile.open(fileobj=io.BytesIO(raw), mode="r:") as tar,
    ):
        for member in tar:
            content = tar.extractfile(member) if member.isreg() else None
            found.append((member, content.read() if content else b""))
    return found
