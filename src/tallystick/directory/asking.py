"""Asking a pool that may answer anything: so many bytes, so many seconds, no other place."""

from __future__ import annotations

import json
from typing import Any, Final

import anyio
import httpx2

from tallystick.directory.claims import Claims, Nonsense, Offer, read_orders, read_pool

PATIENCE: Final = 15.0
"""Seconds for both questions together, however slowly the answers drip."""
_LARGEST: Final = {"/pool": 64 << 10, "/orders": 1 << 20}
"""Bytes of an answer."""


class NoAnswer(Exception):
    """A pool cannot be used; the words say why, after "it"."""


def client() -> httpx2.AsyncClient:
    """What pools are asked with: never sent on, nothing unpacked."""
    return httpx2.AsyncClient(
        follow_redirects=False,
        timeout=PATIENCE,
        headers={"accept": "application/json", "accept-encoding": "identity"},
    )


async def ask(http: httpx2.AsyncClient, url: str) -> tuple[Claims, tuple[Offer, ...]]:
    """What the pool at `url` says of itself, and what it offers. Raises NoAnswer."""
    try:
        with anyio.fail_after(PATIENCE):
            pool = read_pool(await _read(http, url, "/pool"))
            return pool, read_orders(await _read(http, url, "/orders"))
    except TimeoutError as slow:
        raise NoAnswer(f"does not answer within {PATIENCE:.0f} s") from slow
    except Nonsense as wrong:
        raise NoAnswer(f"says nonsense: {wrong}") from wrong
    except httpx2.RemoteProtocolError as strange:
        raise NoAnswer("does not speak HTTP, or hangs up half way") from strange
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as trouble:
        raise NoAnswer("cannot be reached") from trouble


async def _read(http: httpx2.AsyncClient, url: str, path: str) -> Any:
    async with http.stream("GET", url + path) as answer:
        if answer.status_code != 200:
            raise NoAnswer(f"answers {path} with {answer.status_code}")
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise NoAnswer(f"answers {path} packed, which was not asked for")
        body = bytearray()
        async for chunk in answer.aiter_raw():
            body += chunk
            if len(body) > _LARGEST[path]:
                raise NoAnswer(f"answers {path} with more than {_LARGEST[path]:,} bytes")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as wrong:
        raise NoAnswer(f"answers {path} with something that is no JSON") from wrong
