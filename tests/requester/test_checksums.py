"""The digest of an image is that of what its registry hands out."""

from __future__ import annotations

import hashlib
from typing import Any

import httpx2
import pytest

from tallystick.engine.errors import Unavailable
from tallystick.execution.executor import ImageRef
from tallystick.poco.values import Hash
from tallystick.requester.checksums import image_digest
from tallystick.requester.refusals import CannotBuy

pytestmark = pytest.mark.anyio

IMAGE = ImageRef.parse("127.0.0.1:5000/test/app:1")


def registry(status: int, manifest: bytes = b"") -> httpx2.AsyncClient:
    async def answer(scope: Any, receive: Any, send: Any) -> None:
        assert scope["path"] == "/v2/test/app/manifests/1"
        # A registry that lies about the digest of what it sends.
        headers = [(b"docker-content-digest", b"sha256:" + b"0" * 64)]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": manifest})

    return httpx2.AsyncClient(transport=httpx2.ASGITransport(answer))


async def test_the_manifest_itself_is_hashed():
    async with registry(200, b"{}") as http:
        assert await image_digest(http, IMAGE) == hashlib.sha256(b"{}").digest()


async def test_an_image_named_by_digest_needs_no_registry():
    named = ImageRef.parse("127.0.0.1:5000/test/app@sha256:" + "ab" * 32)
    async with registry(500) as http:
        assert await image_digest(http, named) == Hash("ab" * 32)


@pytest.mark.parametrize(
    ("status", "error", "why"),
    [
        (404, CannotBuy, "has no image"),
        (401, CannotBuy, "strangers"),
        (500, Unavailable, "500"),
    ],
)
async def test_why_there_is_no_digest(status, error, why):
    async with registry(status) as http:
        with pytest.raises(error, match=why):
            await image_digest(http, IMAGE)


async def test_a_manifest_without_end_is_not_read_to_the_end():
    async with registry(200, b" " * (5 * 2**20)) as http:
        with pytest.raises(CannotBuy, match="larger than"):
            await image_digest(http, IMAGE)
