"""What a machine lets images take, and which of them it asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from tallystick.execution.executor import MIB, ImageNotForUs, ImageRef

_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io", "hub.docker.com")
PullPolicy: TypeAlias = Literal["missing", "always", "never"]
"""Which images are asked for at their registry: what is not here (a tag may have got another
meaning, so what it means is asked), all, or none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much of a machine images may take."""

    download: int = 4_096 * MIB
    """Bytes over the network, an image."""
    unpacked: int = 12_288 * MIB
    """Bytes on disk, an image."""
    entries: int = 400_000
    """Files, folders and links, an image."""
    keep: int = 24_576 * MIB
    """Bytes of all images; the least recently used go first."""


def not_here(ref: ImageRef) -> ImageNotForUs:
    """What `never` means for an image that is not here."""
    return ImageNotForUs(
        f"{ref} is not on this machine, and `pull_policy` is never: bring it here yourself, or"
        " set the policy to missing."
    )


def registry_name(address: str) -> str:
    """A registry as image references name it, from what people write in settings."""
    host = address.partition("://")[2] or address
    host = host.partition("/")[0].lower()
    return "docker.io" if host in _HUB else host
