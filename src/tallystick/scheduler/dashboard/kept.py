"""Pages as bytes, kept between changes: who looks costs the pool nothing."""

from __future__ import annotations

import gzip
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import anyio
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from tallystick.scheduler.dashboard.budget import Budget
from tallystick.scheduler.dashboard.pace import Pace
from tallystick.scheduler.dashboard.viewer import Viewer
from tallystick.web.site import HEADERS

_WAITING: Final = 100
"""Pages that may wait to be made; who comes then is told to come again."""
_AGAIN: Final = 1.0
"""Seconds between two makings of one page at the least."""
_MOST: Final = 200
"""Pages that are kept."""
_MOST_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class Leaf:
    """One page as it was made."""

    body: bytes
    zipped: bytes
    mark: str
    count: int
    made: float

    @property
    def size(self) -> int:
        """Bytes that it takes here."""
        return len(self.body) + len(self.zipped)


_BUSY: Final = "Too many pages are wanted at once: look again in a few seconds."
_Key = tuple[str, str, str, str]


@dataclass(slots=True)
class Kept:
    """The pages that were made lately, the least wanted of which are forgotten."""

    pace: Pace
    clock: Callable[[], float] = time.monotonic
    budget: Budget = field(default_factory=Budget)
    """Of all pages together."""
    made: int = 0
    """How many pages were made since the start."""
    _leaves: OrderedDict[_Key, Leaf] = field(default_factory=OrderedDict[_Key, Leaf])
    _making: dict[_Key, anyio.Lock] = field(default_factory=dict[_Key, anyio.Lock])
    _bytes: int = 0

    async def answer(
        self, request: Request, viewer: Viewer, make: Callable[[], Awaitable[str]]
    ) -> Response:
        """The page that was asked for; `make` makes its HTML when what is kept is old."""
        key = (
            request.url.path,
            request.url.query,
            viewer.kind,
            str(request.scope.get("root_path", "")),
        )
        leaf = self._fresh(key)
        if leaf is None and key not in self._making and len(self._making) >= _WAITING:
            return PlainTextResponse(_BUSY, 503, headers={**HEADERS, "retry-after": "5"})
        leaf = leaf or await self._made(key, make)
        return _told(request, leaf, private=bool(viewer.kind))

    def _fresh(self, key: _Key) -> Leaf | None:
        leaf = self._leaves.get(key)
        if leaf is None:
            return None
        if leaf.count != self.pace.count and self.clock() >= leaf.made + _AGAIN:
            return None
        self._leaves.move_to_end(key)
        return leaf

    async def _made(self, key: _Key, make: Callable[[], Awaitable[str]]) -> Leaf:
        """A new page; whoever asks for it meanwhile gets the same one."""
        lock = self._making.setdefault(key, anyio.Lock())
        try:
            async with lock:
                return self._fresh(key) or self._keep(key, await self._make(make))
        finally:
            if lock.statistics().tasks_waiting == 0:
                self._making.pop(key, None)

    async def _make(self, make: Callable[[], Awaitable[str]]) -> Leaf:
        async with self.budget.turn():
            count, made = self.pace.count, self.clock()
            self.made += 1
            body = (await make()).encode()
            mark = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
            return Leaf(body, gzip.compress(body, 4, mtime=0), mark, count, made)

    def _keep(self, key: _Key, leaf: Leaf) -> Leaf:
        self._drop(key)
        self._leaves[key] = leaf
        self._bytes += leaf.size
        while len(self._leaves) > _MOST or self._bytes > _MOST_BYTES:
            self._drop(next(iter(self._leaves)))
        return leaf

    def _drop(self, key: _Key) -> None:
        if (leaf := self._leaves.pop(key, None)) is not None:
            self._bytes -= leaf.size


def _told(request: Request, leaf: Leaf, *, private: bool) -> Response:
    """The page; nothing where the browser has it already. What is for one viewer alone is not
    compressed: beside a secret, lengths would tell of it."""
    headers = {
        **HEADERS,
        "cache-control": "private, no-cache" if private else "no-cache",
        "etag": leaf.mark,
        "vary": "accept-encoding, cookie",
    }
    if leaf.mark in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    html = "text/html; charset=utf-8"
    if private or "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(leaf.body, media_type=html, headers=headers)
    return Response(
        leaf.zipped, media_type=html, headers={**headers, "content-encoding": "gzip"}
    )
