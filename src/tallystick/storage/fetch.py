"""Downloads datasets and input files: bounded in size, in time and in where they lead."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

import anyio
import httpx2

from tallystick.poco.values import Hash
from tallystick.storage.addresses import (
    AddressRefused,
    candidates,
    host_and_port,
    require_public,
    require_public_ip,
)

GATEWAYS: Final = (
    "https://ipfs-gateway.v8-bellecour.iex.ec",
    "https://gateway.ipfs.io",
    "https://gateway.pinata.cloud",
)
"""Where v9 workers look for IPFS paths, in this order."""

_REDIRECTS: Final = 5
_PAUSES: Final = (0.2, 1.0, 3.0)
"""Seconds before the second, third and fourth attempt."""


class FetchFailed(Exception):
    """The file could not be had, and the protocol counts that as the task's result."""


class DatasetUnavailable(FetchFailed):
    """Nobody delivers the file: unknown, unreachable, refused, too slow or empty."""


class BadChecksum(FetchFailed):
    """The content is not what its owner registered on chain."""


class TooLarge(FetchFailed):
    """The file is larger than this worker accepts."""


class _Later(Exception):
    """The server is in trouble that may pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    target: Path
    max_bytes: int
    checksum: Hash | None
    allow_private: bool


async def fetch(
    url: str,
    target: Path,
    *,
    max_bytes: int,
    checksum: Hash | None,
    time_limit: float,
    gateways: tuple[str, ...] = GATEWAYS,
    allow_private: bool = False,
) -> None:
    """Download `url` (http, https, or an IPFS path through `gateways`) to the file `target`.

    `target` appears when all of it is there and its SHA-256 is `checksum`. Addresses in private
    networks are refused unless `allow_private`, which is for markets on one machine. Troubles
    that may pass are tried again within `time_limit` seconds.

    Raises `DatasetUnavailable`, `BadChecksum` or `TooLarge`.
    """
    wish = _Wish(
        target=target, max_bytes=max_bytes, checksum=checksum, allow_private=allow_private
    )
    try:
        with anyio.fail_after(time_limit):
            await _first_that_works(candidates(url, gateways), wish)
    except TimeoutError as late:
        raise DatasetUnavailable(
            f"{url} was not downloaded within {time_limit:g} seconds."
        ) from late
    except AddressRefused as refusal:
        raise DatasetUnavailable(f"{url} is not downloaded: {refusal}") from refusal


async def _first_that_works(urls: list[str], wish: _Wish) -> None:
    """Try all `urls` in order, and again after a pause when the last one only has a trouble
    that may pass. Raises what the last one said.
    """
    if not urls:
        raise DatasetUnavailable("No IPFS gateway is configured.")
    problem: Exception | None = None
    async with httpx2.AsyncClient(trust_env=False, timeout=20.0) as http:
        for pause in (0.0, *_PAUSES):
            await anyio.sleep(pause)
            for url in urls:
                problem = await _attempt(http, url, wish)
                if problem is None:
                    return
            if isinstance(problem, DatasetUnavailable):
                raise problem
    raise DatasetUnavailable(f"{urls[-1]} does not answer ({_why(problem)}).") from problem


def _why(problem: Exception | None) -> str:
    """In words: some of what can go wrong with a connection has none but its name."""
    return str(problem) or type(problem).__name__


async def _attempt(http: httpx2.AsyncClient, url: str, wish: _Wish) -> Exception | None:
    """Download `url`; returns why that was not possible."""
    try:
        await _download(http, url, wish)
    except (_Later, httpx2.TransportError, DatasetUnavailable) as trouble:
        return trouble
    return None


async def _download(http: httpx2.AsyncClient, url: str, wish: _Wish) -> None:
    part = wish.target.with_name(wish.target.name + ".part")
    try:
        async with _response(http, url, wish) as response:
            digest = await _save(response, url, part, wish.max_bytes)
        if wish.checksum is not None and digest != wish.checksum:
            raise BadChecksum(
                f"{url} has the SHA-256 {digest}, and {wish.checksum} is registered on chain."
            )
        os.replace(part, wish.target)
    finally:
        part.unlink(missing_ok=True)


@asynccontextmanager
async def _response(
    http: httpx2.AsyncClient, url: str, wish: _Wish
) -> AsyncIterator[httpx2.Response]:
    """The answer that `url` finally leads to, with its body still to be read."""
    here = url
    for _ in range(_REDIRECTS):
        if wish.allow_private:
            host_and_port(here)
        else:
            await require_public(here)
        async with _opened(http, here) as response:
            if not response.has_redirect_location:
                _require_content(response, here, wish)
                yield response
                return
            there = _next(here, response.headers["location"])
        if not there.startswith(("https://", here.partition(":")[0] + "://")):
            raise DatasetUnavailable(f"{here} leads to {there[:200]!r}, which is not followed.")
        here = there
    raise DatasetUnavailable(f"{url} only leads from one address to the next.")


def _next(here: str, location: str) -> str:
    try:
        return urljoin(here, location)
    except ValueError as trouble:
        raise DatasetUnavailable(f"{here} leads to {location[:200]!r}.") from trouble


@asynccontextmanager
async def _opened(http: httpx2.AsyncClient, url: str) -> AsyncIterator[httpx2.Response]:
    try:
        request = http.build_request("GET", url, headers={"accept-encoding": "identity"})
    except (httpx2.InvalidURL, ValueError) as trouble:
        raise DatasetUnavailable(f"{url[:200]!r} is not a URL.") from trouble
    response = await http.send(request, stream=True)
    try:
        yield response
    finally:
        await response.aclose()


def _require_content(response: httpx2.Response, url: str, wish: _Wish) -> None:
    """The checks that need only the head of the answer.

    The peer is looked at again: a name may resolve to another address from one moment to the
    next, and only now it is known which one was used.
    """
    peer: Any = response.extensions["network_stream"].get_extra_info("server_addr")
    if not wish.allow_private and peer is not None:
        require_public_ip(str(peer[0]), url)
    if response.status_code >= 500 or response.status_code in (408, 429):
        raise _Later(f"status {response.status_code}")
    if not response.is_success:
        raise DatasetUnavailable(f"{url} is refused with status {response.status_code}.")
    announced = response.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > wish.max_bytes:
        raise TooLarge(f"{url} has {announced} bytes; this worker takes {wish.max_bytes}.")


async def _save(response: httpx2.Response, url: str, part: Path, max_bytes: int) -> Hash:
    """Write the body to `part`; returns its SHA-256."""
    digest, size = hashlib.sha256(), 0
    async with await anyio.open_file(part, "wb") as out:
        async for chunk in response.aiter_raw():
            size += len(chunk)
            if size > max_bytes:
                raise TooLarge(f"{url} has more than the {max_bytes} bytes this worker takes.")
            digest.update(chunk)
            await out.write(chunk)
    if size == 0:
        raise DatasetUnavailable(f"{url} is empty.")
    return Hash(digest.digest())
