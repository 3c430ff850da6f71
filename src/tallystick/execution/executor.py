"""What a container run is, whatever runs it: a job goes in, an outcome comes out."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol, Self

from tallystick.engine.errors import Refused
from tallystick.execution.network import NetworkPolicy

MIB = 1 << 20
IMAGE_TIME = 60.0
"""Seconds to have an image at hand again before a job: not part of what the job may take."""
LOG_BYTES = 400_000
"""Kept of each stream: enough for the last 100,000 characters, at 4 bytes at most each."""


class ImageUnavailable(Refused):
    """There is no such image, or it is not what its reference promises."""


class ImageNotForUs(ImageUnavailable):
    """Our own rules, login or processor keep an image from us, which others may well have.

    What another worker may see otherwise is nothing to vote about.
    """


class RuntimeUnfit(Refused):
    """The container runtime that was asked for cannot be used on this machine."""


_NAME = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]+)?|\[[0-9a-fA-F:]+\](?::[0-9]+)?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ImageRef:
    """Where an image is, and which one: `registry/repository:tag@digest`."""

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a Docker image reference; what is left out means what Docker means by it.

        Raises ImageUnavailable for text that names no image.
        """
        name, _, digest = text.strip().partition("@")
        head, colon, tag = name.rpartition(":")
        if not colon or "/" in tag:
            head, tag = name, ""
        registry, repository = _split_host(head)
        valid = (
            _HOST.fullmatch(registry)
            and _NAME.fullmatch(repository)
            and (not tag or _TAG.fullmatch(tag))
            and (not digest or _DIGEST.fullmatch(digest))
            and not ("@" in text and not digest)
            and not (name.endswith(":"))
        )
        if not valid or len(text) > 512:
            raise ImageUnavailable(
                f"{text[:200]!r} is no image reference; write it like"
                " registry.example:5000/name:tag or name@sha256:<64 hex digits>."
            )
        if not tag and not digest:
            tag = "latest"
        return cls(registry, repository, tag or None, digest or None)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}{f'@{self.digest}' if self.digest else ''}"

    @property
    def name(self) -> str:
        """Registry and repository, without the tag or the digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def version(self) -> str:
        """What to ask the registry for: the digest when there is one, else the tag."""
        return self.digest or self.tag or "latest"


def _split_host(name: str) -> tuple[str, str]:
    """The first part is a host when it looks like one, as in Docker."""
    host, slash, rest = name.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        return host, rest
    return "docker.io", name if slash else f"library/{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a job may use. Every executor says which of these it cannot enforce."""

    time: float
    """Seconds of wall clock; then every process of the job is killed."""
    memory: int
    """Bytes of memory, page cache of its temporary files included."""
    cpus: float
    """Processors' worth of time: 0.5 is half of one."""
    pids: int
    """Processes and threads at once."""
    disk: int
    """Bytes below `/iexec_out`, counted by real and by apparent size."""
    files: int = 10_000
    """Files, folders and links below `/iexec_out`."""
    log: int = LOG_BYTES
    """Bytes kept of the end of stdout, and of stderr."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One container to run once."""

    name: str
    """Unique on the machine; what a crash left behind is found again by its prefix."""
    image: ImageRef
    args: tuple[str, ...]
    """Given to the image's entrypoint; when empty, the image's own command is."""
    env: Mapping[str, str]
    input_dir: Path
    """Seen by the job as `/iexec_in`, read-only. Is made readable for every user."""
    output_dir: Path
    """Receives what the job left in `/iexec_out`, within the limits."""
    limits: Limits
    network: NetworkPolicy = field(default_factory=NetworkPolicy)
    """What the job may reach."""
    note_denials: bool = False
    """Whether `Outcome.denied` will decide something, so that it is worth some pains."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", self.name):
            raise ValueError(f"{self.name!r} cannot name a container")


@dataclass(frozen=True, slots=True, kw_only=True)
class Handmade:
    """An image that is in no registry, whole in memory. It has one layer, and runs as root."""

    ref: ImageRef
    """How jobs name it: by the digest of the layer."""
    layer: bytes
    """A tar."""
    entrypoint: tuple[str, ...]
    tag: str
    """How a Docker daemon names it."""
    archive: bytes
    """What `docker load` takes."""


class Ended(StrEnum):
    """Why a job stopped."""

    EXITED = "exited"
    TIMED_OUT = "timed out"
    OUT_OF_MEMORY = "out of memory"
    DISK_FULL = "disk full"
    KILLED = "killed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a job ended, and what it said."""

    exit_code: int | None
    """None when the job did not end by itself."""
    stdout: bytes
    """The end of it, at most `Limits.log` bytes."""
    stderr: bytes
    ended: Ended
    seconds: float
    """From the start of the container to its end."""
    stdout_dropped: int = 0
    """Bytes written before the ones kept."""
    stderr_dropped: int = 0
    denied: tuple[str, ...] = ()
    """What the job tried and a more generous sandbox would have let it do, as far as it was
    noticed; a phrase each, such as `the network (2 connections)`."""

    @property
    def succeeded(self) -> bool:
        """Whether the job did what it wanted, by its own word."""
        return self.ended is Ended.EXITED and self.exit_code == 0


class Executor(Protocol):
    """A container runtime, as the worker sees it."""

    @property
    def name(self) -> str:
        """`docker`, `runc`, `crun` or `bubblewrap`."""
        ...

    async def fetch(self, image: ImageRef, *, time_limit: float) -> None:
        """Have the image here, checked against its digest.

        Raises ImageUnavailable when there is no such image or it is not to be trusted,
        engine.errors.Unavailable when the registry or the daemon does not answer in time.
        """
        ...

    async def adopt(self, image: Handmade) -> None:
        """Have an image here that is in no registry; jobs then name it by its `ref`."""
        ...

    async def run(self, job: Job) -> Outcome:
        """Run the job to its end or its limit. Leaves nothing behind, even when cancelled."""
        ...

    async def sweep(self, prefix: str, spare: Collection[str] = ()) -> None:
        """Remove what jobs whose names begin with `prefix` left when their worker was killed.

        Jobs that this very object runs are spared, and those whose names are in `spare`: they
        are due, and `run` goes on with what is left of them where it can.
        """
        ...

    def limits_not_enforced(self) -> tuple[str, ...]:
        """One sentence for each promise that this runtime cannot keep on this machine."""
        ...

    def network_refused(self, policy: NetworkPolicy) -> str | None:
        """Why no job can be given that network here, as the end of a sentence; None: it can."""
        ...

    async def aclose(self) -> None:
        """Give back threads and connections."""
        ...
