"""The result store's interface: the link on chain, the bodies, and the client.

Routes and bodies are those of the v9 result proxy. `PUT /v1/results/{task}` is ours: it takes
the zip as it is, whereas the v9 body carries it in Base64, inside JSON.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import anyio
import httpx2
from anyio import to_thread
from eth_hash.auto import keccak

from tallystick import __version__
from tallystick.engine import timing
from tallystick.engine.errors import Refused, Unavailable
from tallystick.engine.trust import trusting
from tallystick.poco.contribution import authorization_hash
from tallystick.poco.values import Address, DealId, Hash, TaskId
from tallystick.storage.cid import cid_v0
from tallystick.wire.authorization import Body, WorkerpoolAuthorization

IPFS: Final = "ipfs"
_CHUNK: Final = 3 << 16
"""Bytes, a multiple of what Base64 writes without padding."""
_NO_PUT: Final = (404, 405, 501)
"""What a store answers that has no such route."""
_LONGEST_ANSWER: Final = 1 << 16
"""Bytes. A store may be a stranger's, whom a deal names: its answers are short, or refused."""

SignMessage = Callable[[Hash], bytes]
"""A wallet's personal signature (EIP-191) of a hash."""


@dataclass(frozen=True, slots=True)
class Link:
    """Where a result is, as `finalize` puts it on chain."""

    storage: str
    """`ipfs`, `dropbox`, or `ethereum` for a callback."""
    location: str
    """For `ipfs` the path /ipfs/… at any gateway that has it."""


def result_link(storage: str, location: str) -> bytes:
    """The bytes for the chain; official clients and v9 peers read exactly this text."""
    return f'{{ "storage": "{storage}", "location": "{location}" }}'.encode()


def parse_link(results: bytes) -> Link | None:
    """What the `results` of a finalized task say; None when it is no link."""
    try:
        said = json.loads(results)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    storage, location = said.get("storage"), said.get("location")
    if not isinstance(storage, str) or not isinstance(location, str):
        return None
    return Link(storage, location)


class ResultModel(Body):
    """`POST /v1/results` without its `zip`, which is never read into memory as a whole."""

    chain_task_id: TaskId
    deal_id: DealId | None = None
    task_index: int = 0
    determinist_hash: str | None = None
    enclave_signature: str | None = None


def access_message(reader: Address, store_url: str, challenge: str) -> Hash:
    """What a beneficiary signs (EIP-191) to read from a private store.

    The store's address is part of it, so that one store cannot use the answer at another.
    """
    text = f"Let {reader} read its results at {store_url}: {challenge}"
    return Hash(keccak(text.encode()))


class ResultsClient:
    """A worker's, scheduler's or requester's connection to a result store.

    Every call raises `Unavailable` when the store does not answer or is not ready, and
    `Refused` when it says no for good.
    """

    def __init__(self, base_url: str, ca: Path | None = None) -> None:
        """`ca` holds certificates that are believed beside the system's. Raises `Refused` when
        `base_url` is no address, since deals name stores as well, and `BadSettings`."""
        self.url = base_url.rstrip("/")
        try:
            self._http = httpx2.AsyncClient(
                base_url=self.url,
                timeout=httpx2.Timeout(10.0, read=60.0, write=60.0),
                headers={"user-agent": f"tallystick/{__version__}"},
                verify=trusting(self.url, ca=ca),
            )
        except httpx2.InvalidURL as problem:
            raise Refused(f"{base_url[:200]!r} is no result store: {problem}.") from problem

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def location(self, task: TaskId) -> str | None:
        """Where the result of `task` is (/ipfs/…), None while there is none."""
        answer = await self._ask("GET", f"/v1/results/{task}/ipfshash")
        if answer.status_code == 404:
            return None
        return f"/ipfs/{self._word(answer)}"

    async def holds(self, task: TaskId) -> bool:
        """Whether the store has the result of `task`."""
        return await self.location(task) is not None

    async def deliver(
        self,
        authorization: WorkerpoolAuthorization,
        sign_message: SignMessage,
        archive: Path,
    ) -> str:
        """Bring the zip `archive` to the store, unless it is there; returns its location."""
        timing.sent("upload")
        task = authorization.chain_task_id
        if known := await self.location(task):
            return known
        token = await self.token(authorization, sign_message)
        return await self.upload(task, archive, token=token)

    async def publish(
        self,
        authorization: WorkerpoolAuthorization,
        sign_message: SignMessage,
        archive: Path,
    ) -> str:
        """Bring the zip to the store before any vote, where one vote decides; its location.

        Raises `Refused` when the store would call it otherwise than its content does, and
        `FileNotFoundError` when there is no zip.
        """
        location = f"/ipfs/{await to_thread.run_sync(cid_v0, archive)}"
        timing.sent("upload")
        token = await self.token(authorization, sign_message)
        said = await self.upload(authorization.chain_task_id, archive, token=token)
        if said != location:
            raise Refused(f"The result store at {self.url} names {location} {said[:100]!r}.")
        return location

    async def token(
        self, authorization: WorkerpoolAuthorization, sign_message: SignMessage
    ) -> str:
        """Permission to upload, for the worker that the pool has authorized."""
        signed = authorization_hash(
            authorization.worker_wallet,
            authorization.chain_task_id,
            authorization.enclave_challenge,
        )
        answer = await self._ask(
            "POST",
            "/v1/results/token",
            content=authorization.json_bytes(),
            headers={
                "authorization": "0x" + sign_message(signed).hex(),
                "content-type": "application/json",
            },
        )
        return self._word(answer)

    async def upload(self, task: TaskId, archive: Path, *, token: str) -> str:
        """Send the zip as a stream; returns its location. A v9 store does not know how we do
        it, so that gets the zip as its own workers send it."""
        answer = await self._ask(
            "PUT",
            f"/v1/results/{task}",
            content=_content(archive),
            headers={"authorization": token, "content-type": "application/zip"},
        )
        if answer.status_code in _NO_PUT:
            head, tail = _v9_body(task)
            zipped = (await anyio.Path(archive).stat()).st_size
            size = len(head) + -(-zipped // 3) * 4 + len(tail)
            answer = await self._ask(
                "POST",
                "/v1/results",
                content=_inside(head, archive, tail),
                headers={
                    "authorization": token,
                    "content-type": "application/json",
                    "content-length": str(size),
                },
            )
            if answer.status_code == 400:  # it could not store it now; a refusal is 401
                raise Unavailable(f"The result store at {self.url} could not store the result.")
        return self._word(answer)

    async def access(self, reader: Address, sign_message: SignMessage) -> str:
        """The `Authorization` with which `reader` may download its results for a while."""
        answer = await self._ask("GET", "/v1/results/challenge")
        challenge = self._word(answer)
        signature = sign_message(access_message(reader, self.url, challenge))
        return f"{challenge} {reader} 0x{signature.hex()}"

    async def _ask(self, verb: str, path: str, **request: Any) -> httpx2.Response:
        try:
            async with self._http.stream(verb, path, **request) as answer:
                return httpx2.Response(answer.status_code, content=await self._all(answer))
        except httpx2.HTTPError as trouble:
            reason = str(trouble) or type(trouble).__name__
            raise Unavailable(
                f"The result store at {self.url} did not answer: {reason}."
            ) from trouble

    async def _all(self, answer: httpx2.Response) -> bytes:
        content = b""
        async for chunk in answer.aiter_bytes():
            content += chunk
            if len(content) > _LONGEST_ANSWER:
                raise Refused(f"The result store at {self.url} does not stop talking.")
        return content

    def _word(self, answer: httpx2.Response) -> str:
        """The text of an answer that is one word: a token, a place, a challenge."""
        word = self._accepted(answer).text.strip()
        if not (word.isascii() and word.isprintable()):
            raise Refused(f"The result store at {self.url} answers {word[:100]!r}.")
        return word

    def _accepted(self, answer: httpx2.Response) -> httpx2.Response:
        if answer.is_success:
            return answer
        said = f"({answer.status_code}) {answer.text[:300]}".strip()
        if answer.is_server_error or answer.status_code in (408, 425, 429):
            raise Unavailable(f"The result store at {self.url} is not ready: {said}")
        raise Refused(f"The result store at {self.url} refused: {said}")


async def _content(archive: Path) -> AsyncIterator[bytes]:
    async with await anyio.open_file(archive, "rb") as stream:
        while chunk := await stream.read(_CHUNK):
            yield chunk


def _v9_body(task: TaskId) -> tuple[bytes, bytes]:
    """What a v9 worker sends before and after the zip, with the fields that it leaves as they
    are. It goes without `deterministHash`, which the store finds out by itself."""
    fields = {
        "chainTaskId": str(task),
        "dealId": "0x" + bytes(32).hex(),
        "taskIndex": 0,
        "image": None,
        "cmd": None,
        "deterministHash": None,
        "enclaveSignature": "0x" + bytes(65).hex(),
    }
    text = json.dumps(fields, separators=(",", ":")).encode()
    return text[:-1] + b',"zip":"', b'"}'


async def _inside(head: bytes, archive: Path, tail: bytes) -> AsyncIterator[bytes]:
    yield head
    async for chunk in _content(archive):
        yield base64.b64encode(chunk)
    yield tail
