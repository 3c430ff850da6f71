"""What an image or a file is today: the sha256 that goes on chain with it."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import anyio
import httpx2

from tallystick.engine.errors import Unavailable
from tallystick.execution.executor import ImageRef
from tallystick.poco.values import Hash
from tallystick.requester.refusals import CannotBuy
from tallystick.storage.fetch import fetch

LARGEST = 2 * 10**9
"""Bytes of a dataset that is registered by its URL."""

TIME_LIMIT = 600.0
"""Seconds within which such a dataset must have arrived."""

_MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_LARGEST = 4 * 2**20
"""Bytes of a manifest, as registries themselves limit it."""


async def image_digest(http: httpx2.AsyncClient, image: ImageRef) -> Hash:
    """The sha256 of the manifest that `image` names now.

    The manifest is read and hashed here; the registry's own word for it is not taken. Raises
    CannotBuy when there is no such image, Unavailable when its registry does not answer.
    """
    if image.digest is not None:
        return Hash(image.digest.removeprefix("sha256:"))
    manifest = await _manifest(http, image)
    return Hash(hashlib.sha256(manifest).digest())


async def _manifest(http: httpx2.AsyncClient, image: ImageRef) -> bytes:
    host = image.registry.rpartition(":")[0] or image.registry
    scheme = "http" if host in _LOOPBACK else "https"
    url = f"{scheme}://{image.registry}/v2/{image.repository}/manifests/{image.version}"
    try:
        async with http.stream("GET", url, headers={"Accept": _MANIFESTS}) as answer:
            _accept(answer, image)
            return await _limited(answer, image)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise Unavailable(
            f"The registry {image.registry} of the image {image} does not answer ({error})."
        ) from error


def _accept(answer: httpx2.Response, image: ImageRef) -> None:
    match answer.status_code:
        case 200:
            return
        case 404:
            raise CannotBuy(f"The registry {image.registry} has no image {image}.")
        case 401 | 403:
            raise CannotBuy(
                f"The registry {image.registry} does not show the image {image} to strangers; "
                "workers could not pull it either."
            )
        case status:
            raise Unavailable(f"The registry {image.registry} answered {status} for {image}.")


async def _limited(answer: httpx2.Response, image: ImageRef) -> bytes:
    manifest = b""
    async for part in answer.aiter_bytes():
        manifest += part
        if len(manifest) > _LARGEST:
            raise CannotBuy(f"The manifest of {image} is larger than {_LARGEST} bytes.")
    return manifest


async def url_checksum(url: str, *, private: bool) -> Hash:
    """The sha256 of what is at `url` now. Raises what fetching does."""
    with tempfile.TemporaryDirectory(prefix="tally-dataset-") as folder:
        path = Path(folder) / "dataset"
        await fetch(
            url,
            path,
            max_bytes=LARGEST,
            checksum=None,
            time_limit=TIME_LIMIT,
            allow_private=private,
        )
        return Hash(await anyio.to_thread.run_sync(_sha256, path))


def _sha256(path: Path) -> bytes:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").digest()
