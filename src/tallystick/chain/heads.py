"""New blocks as soon as they are known: by subscription, or by asking again and again.

News of a block only wakes somebody who then reads from his cursor. So nothing is lost when a
subscription drops, blocks are skipped or told twice: it only takes a little longer.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import urlsplit

import anyio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from tallystick.chain.abi import BadAnswer
from tallystick.chain.queries import read_head
from tallystick.chain.records import Head
from tallystick.chain.rpc import Rpc
from tallystick.engine.errors import Unavailable

log = logging.getLogger(__name__)

POLL = 0.5
"""Seconds between questions while there is no subscription."""

SILENCE = 4.0
"""Seconds after which a silent subscription is checked by a question."""

RETRY = 5.0
"""Seconds of asking before the next attempt to subscribe."""

LINGER = 10.0
"""Seconds for which the chain is followed after the last who waited for a block is gone."""

TRUST = 6.0
"""Seconds without news for which the latest block that was told of is taken for the latest one:
more than most chains take for a block. Then somebody asks, and tells when no node answers."""

_FAREWELL = 0.25
"""Seconds that a node has to say goodbye."""

_SUBSCRIBE = {"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]}


class Heads:
    """The newest block for everybody in a process who waits for it.

    `run` must be running somewhere, or `change` only ever times out. While nobody waits for a
    block the chain is not followed: no subscription, no question, no work for each block.
    """

    def __init__(self, rpc: Rpc, ws_url: str | None = None, *, poll: float = POLL) -> None:
        self._rpc, self._ws_url, self._poll = rpc, ws_url, poll
        self._changed: anyio.Event | None = None
        self._waiting, self._wanted = 0, anyio.Event()
        self._wanted_at = 0.0
        self.latest: Head | None = None
        """None while it is not known: at first, and while nobody waits for blocks."""
        self.count = 0
        """How often there was news. Pass it to `change`, so that none is missed."""

    async def run(self) -> None:
        """Follow the chain, while somebody wants to know, until cancelled."""
        self._wanted_at = anyio.current_time()
        while True:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._follow)
                await self._until_nobody_waits()
                tasks.cancel_scope.cancel()
            self.latest = None  # it will be old when it is asked for
            self._wanted = anyio.Event()
            await self._wanted.wait()

    async def _until_nobody_waits(self) -> None:
        while True:
            quiet = 0.0 if self._waiting else anyio.current_time() - self._wanted_at
            if quiet >= LINGER:
                return
            await anyio.sleep(LINGER - quiet)

    async def _follow(self) -> None:
        async with aclosing(blocks(self._rpc, self._ws_url, poll=self._poll)) as news:
            async for head in news:
                self.latest = head
                self.count += 1
                if self._changed is not None:
                    self._changed.set()
                    self._changed = None

    async def change(self, count: int, *, within: float) -> int:
        """Wait for news after the `count` that was seen, at most `within` seconds."""
        with self._wish(), anyio.move_on_after(within):
            while self.count == count:
                if self._changed is None:
                    self._changed = anyio.Event()
                await self._changed.wait()
        return self.count

    @contextmanager
    def _wish(self) -> Iterator[None]:
        self._waiting += 1
        self._wanted.set()
        try:
            yield
        finally:
            self._waiting -= 1
            self._wanted_at = anyio.current_time()


async def heads(
    rpc: Rpc, ws_url: str | None = None, *, poll: float = POLL
) -> AsyncGenerator[int, None]:
    """The numbers of new blocks, lower ones too when the chain went back. Never ends."""
    async with aclosing(blocks(rpc, ws_url, poll=poll)) as news:
        async for head in news:
            yield head.number


async def blocks(
    rpc: Rpc, ws_url: str | None = None, *, poll: float = POLL
) -> AsyncGenerator[Head, None]:
    """New blocks as they become the latest one. Never ends, whatever the nodes do."""
    last: Head | None = None
    while True:
        if ws_url is not None:
            async with aclosing(_subscribed(rpc, ws_url, last)) as news:
                async for last in news:
                    yield last
        async with aclosing(_asked(rpc, last, poll=poll, for_ever=ws_url is None)) as news:
            async for last in news:
                yield last


async def _subscribed(rpc: Rpc, ws_url: str, last: Head | None) -> AsyncGenerator[Head, None]:
    """Blocks by subscription, for as long as there is one."""
    try:
        async with (
            _subscription(ws_url) as socket,
            aclosing(_told(rpc, socket, last)) as news,
        ):
            async for head in news:
                yield head
    except (OSError, WebSocketException, BadAnswer) as trouble:
        log.warning("no subscription to new blocks, asking instead: %s", trouble)


@asynccontextmanager
async def _subscription(ws_url: str) -> AsyncGenerator[ClientConnection, None]:
    """A connection that is closed even by those who are cancelled."""
    local = urlsplit(ws_url).hostname in ("127.0.0.1", "localhost", "::1")
    socket = await connect(
        ws_url,
        open_timeout=5.0,
        close_timeout=_FAREWELL,
        max_size=2**20,
        proxy=None if local else True,
    )
    try:
        yield socket
    finally:
        with anyio.move_on_after(2 * _FAREWELL, shield=True):
            await socket.close()
        socket.transport.abort()


async def _told(
    rpc: Rpc, socket: ClientConnection, last: Head | None
) -> AsyncGenerator[Head, None]:
    """Blocks by subscription. Ends when it has missed one; raises when it breaks."""
    await socket.send(json.dumps(_SUBSCRIBE))
    with anyio.fail_after(5.0):
        answer = _message(await socket.recv())
    if not isinstance(answer.get("result"), str):
        raise BadAnswer(f"the node refuses to subscribe: {answer.get('error')}")
    missed = await _latest(rpc)
    if missed is not None and missed != last:
        last = missed
        yield last
    while True:
        text: str | bytes | None = None
        with anyio.move_on_after(SILENCE):
            text = await socket.recv()
        if text is not None:
            if (head := _news(_message(text))) is not None:
                last = head
                yield last
        elif (missed := await _latest(rpc)) is not None and missed != last:
            log.warning("the subscription to new blocks is silent")
            yield missed
            return


async def _asked(
    rpc: Rpc, last: Head | None, *, poll: float, for_ever: bool
) -> AsyncGenerator[Head, None]:
    """Blocks by asking; for a while only, when a subscription may be had again."""
    deadline = anyio.current_time() + RETRY
    while True:
        head = await _latest(rpc)
        if head is not None and head != last:
            last = head
            yield last
        if not for_ever and anyio.current_time() > deadline:
            return
        await anyio.sleep(poll)


async def _latest(rpc: Rpc) -> Head | None:
    try:
        return read_head(await rpc.call("eth_getBlockByNumber", "latest", False))
    except Unavailable as trouble:
        log.debug("the latest block is not known: %s", trouble)  # its readers tell
        return None


def _message(text: str | bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as trouble:
        raise BadAnswer("the subscription does not speak JSON") from trouble
    return found if isinstance(found, dict) else {}


def _news(message: dict[str, Any]) -> Head | None:
    params = message.get("params")
    if message.get("method") != "eth_subscription" or not isinstance(params, dict):
        return None
    return read_head(params.get("result"))
