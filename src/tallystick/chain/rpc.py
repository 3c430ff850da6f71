"""JSON-RPC over HTTP: batches, several nodes with failover, typed errors."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import anyio
import httpx2

from tallystick.chain.answers import NodeError, NotReady, RpcError, error_of
from tallystick.engine.errors import Unavailable
from tallystick.engine.trust import trusting

log = logging.getLogger(__name__)

Request = tuple[str, Sequence[Any]]

BATCH = 100
"""Requests in one HTTP message: public nodes refuse more."""

DOUBT = 30.0
"""Seconds for which another node is asked first when one contradicts what is known."""

_RETRIES = (0.002, 0.005, 0.02, 0.05, 0.1)
"""Seconds between the attempts when a node misses a block that it is just making."""


@dataclass(slots=True)
class _Node:
    url: str
    behind: bool = False
    """Whether it told fewer blocks, when it was asked last, than had been seen before."""
    down_until: float = 0.0
    doubted_until: float = 0.0
    name: str = field(init=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        self.name = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


class Rpc:
    """Speaks to the first of `urls` that is healthy and not behind the others.

    With several nodes each message also asks for the block number. An answer from a node that
    has fewer blocks than were seen before it was asked is thrown away and the next node is
    asked; when only lagging nodes are left, they are believed after `forget` seconds, since
    then the chain itself must have gone back.

    Every method raises `Unavailable` when no node gives an answer, `Reverted` (a `Refused`)
    when the contract says no, and another `RpcError` (an `Unavailable`) when the node does.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        timeout: float = 10.0,
        survey_every: float = 3.0,
        forget: float = 60.0,
        ca: Path | None = None,
    ) -> None:
        if not urls:
            raise ValueError("an Rpc needs the address of at least one node")
        self._nodes = [_Node(url) for url in urls]
        self._current = self._nodes[0]
        self._survey_every, self._forget = survey_every, forget
        self._surveyed = 0.0
        self._highest, self._highest_at = 0, 0.0
        self._ids = count(1)
        self._http = _client(urls, timeout, ca)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    @property
    def urls(self) -> tuple[str, ...]:
        """The nodes, in the order in which they were given."""
        return tuple(node.url for node in self._nodes)

    @property
    def in_use(self) -> str:
        """The node that answered last."""
        return self._current.url

    async def call(self, method: str, *params: Any) -> Any:
        """The result of one request."""
        (answer,) = await self.batch([(method, params)])
        if isinstance(answer, RpcError):
            raise answer
        return answer

    async def batch(self, requests: Sequence[Request]) -> list[Any | RpcError]:
        """The results in order; what failed by itself stands there as its `RpcError`.

        Up to `BATCH` requests travel together and are answered by the same node.
        """
        answers: list[Any | RpcError] = []
        for start in range(0, len(requests), BATCH):
            answers += await self._patiently(requests[start : start + BATCH])
        return answers

    def doubt(self) -> None:
        """What the node in use says contradicts what is known: it may be behind itself, or lie,
        so for a while another one is asked first. With one node, nothing."""
        self._current.doubted_until = time.monotonic() + DOUBT

    async def _patiently(self, requests: Sequence[Request]) -> list[Any | RpcError]:
        """Ask, and ask again for what the node was not ready for."""
        answers = await self._failover(requests)
        for pause in _RETRIES:
            late = [i for i, answer in enumerate(answers) if isinstance(answer, NotReady)]
            if not late:
                break
            await anyio.sleep(pause)
            again = await self._failover([requests[i] for i in late])
            for i, answer in zip(late, again, strict=True):
                answers[i] = answer
        return answers

    async def _failover(self, requests: Sequence[Request]) -> list[Any | RpcError]:
        if len(self._nodes) == 1:
            try:
                return await self._ask(self._nodes[0], requests)
            except NodeError as trouble:
                raise Unavailable(str(trouble)) from trouble
        await self._survey_if_due()
        troubles: list[str] = []
        for node in self._ranked():
            try:
                answers = await self._ask_fresh(node, requests)
            except NodeError as trouble:
                troubles.append(str(trouble))
                continue
            self._current = node
            return answers
        raise Unavailable("no node of the chain can be used: " + "; ".join(troubles))

    def _ranked(self) -> list[_Node]:
        """The node in use first, then the configured order; those in trouble last, and of
        those that were doubted lately the last one."""
        now = time.monotonic()
        return sorted(
            self._nodes,
            key=lambda node: (
                node.down_until > now,
                max(node.doubted_until, now),
                node.behind,
                node is not self._current,
            ),
        )

    async def _ask_fresh(
        self, node: _Node, requests: Sequence[Request]
    ) -> list[Any | RpcError]:
        known = self._highest
        number, *answers = await self._ask(node, [("eth_blockNumber", ()), *requests])
        if isinstance(number, RpcError):
            raise NodeError(0, f"{node.name} does not tell its block number: {number}")
        height = int(number, 16)
        self._saw(node, height, known)
        if node.behind:
            raise NodeError(0, f"{node.name} is at block {height}, behind {known} seen before")
        return answers

    def _saw(self, node: _Node, height: int, known: int) -> None:
        """The node tells its height; `known` was the highest one when it was asked. It is not
        behind when only an answer to a later question was faster than its own."""
        now = time.monotonic()
        node.behind = height < min(known, self._highest)
        if height >= self._highest:
            self._highest, self._highest_at = height, now
        elif node.behind and now - self._highest_at > self._forget:
            log.warning("the chain went back from block %d to %d", self._highest, height)
            self._highest, self._highest_at = height, now
            node.behind = False

    async def _survey_if_due(self) -> None:
        """Look at all nodes now and then: one that is stuck must not be believed for ever."""
        now = time.monotonic()
        if now - self._surveyed < self._survey_every:
            return
        self._surveyed = now
        async with anyio.create_task_group() as asking:
            for node in self._nodes:
                if node.down_until <= now:
                    asking.start_soon(self._height, node)

    async def _height(self, node: _Node) -> None:
        try:
            with anyio.move_on_after(self._survey_every):
                known = self._highest
                (height,) = await self._ask(node, [("eth_blockNumber", ())])
                if isinstance(height, str):
                    self._saw(node, int(height, 16), known)
        except NodeError as trouble:
            log.warning("%s", trouble)

    async def _ask(self, node: _Node, requests: Sequence[Request]) -> list[Any | RpcError]:
        """One HTTP message to one node. Raises `NodeError` when it gives no usable answer."""
        first = next(self._ids)
        ids = [first, *(next(self._ids) for _ in requests[1:])]
        bodies = [
            {"jsonrpc": "2.0", "id": i, "method": method, "params": list(params)}
            for i, (method, params) in zip(ids, requests, strict=True)
        ]
        try:
            found = await self._post(node, bodies if len(bodies) > 1 else bodies[0])
            answers = dict(_parsed(found))
            missing = [i for i in ids if i not in answers]
            if missing:
                raise ValueError(_first_error(found) or "answers are missing")
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, OSError) as trouble:
            node.down_until = time.monotonic() + 1.0
            reason = str(trouble) or type(trouble).__name__
            raise NodeError(0, f"the node {node.name} does not answer: {reason}") from trouble
        node.down_until = 0.0
        return [answers[i] for i in ids]

    async def _post(self, node: _Node, body: Any) -> Any:
        content = json.dumps(body, separators=(",", ":")).encode()
        try:
            response = await self._http.post(node.url, content=content)
        except (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError):
            # The node closed the kept connection meanwhile. Our requests may all be repeated.
            response = await self._http.post(node.url, content=content)
        if response.status_code in (429, 502, 503, 504):
            response.raise_for_status()
        return response.json()


def _client(urls: Sequence[str], timeout: float, ca: Path | None) -> httpx2.AsyncClient:
    local = all(urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1") for url in urls)
    return httpx2.AsyncClient(
        timeout=timeout,
        # One connection does for a program that asks twice a minute.
        limits=httpx2.Limits(keepalive_expiry=45.0),
        headers={"content-type": "application/json"},
        verify=trusting(*urls, ca=ca),
        # A proxy named in the environment is not meant for this machine itself.
        trust_env=not local,
    )


def _parsed(found: Any) -> Iterator[tuple[Any, Any | RpcError]]:
    for answer in found if isinstance(found, list) else [found]:
        if not isinstance(answer, dict):
            raise ValueError("an answer that is no JSON-RPC object")
        if "error" in answer and answer["error"] is not None:
            yield answer.get("id"), error_of(answer["error"])
        elif "result" in answer:
            yield answer.get("id"), answer["result"]


def _first_error(found: Any) -> str:
    """What a node says that refuses a whole message, for example because of its size."""
    error = found.get("error") if isinstance(found, dict) else None
    return str(error.get("message")) if isinstance(error, dict) else ""
