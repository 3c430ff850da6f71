"""A v9 result proxy: tokens and results, as strict as the Java one.

Written from section 6.9 of the wire protocol.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import secrets
import zipfile
from dataclasses import dataclass, field
from typing import Any

import jwt
from eth_hash.auto import keccak
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from v9_chain import REVEALED, REVEALING, Chain, hexed, packed
from v9_models import AUTHORIZATION, RESULT, ZERO, BadBody, read

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_NO_CALLBACK = ZERO


@dataclass
class V9Proxy:
    """Results in memory. A refusal is written down with its reason, which no caller is told."""

    chain: Chain
    results: dict[str, bytes] = field(default_factory=dict)
    """Zip by task."""
    places: dict[str, str] = field(default_factory=dict)
    """`/ipfs/…` by task."""
    refusals: list[str] = field(default_factory=list)
    failing: int = 0
    """So many more uploads are answered by 400, as when IPFS is down."""
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(64))
    _current: dict[str, str] = field(default_factory=dict)
    """Token by wallet."""

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/version", self._version, methods=["GET"]),
            Route("/v1/results/token", self._token, methods=["POST"]),
            Route("/v1/results", self._upload, methods=["POST"]),
            Route("/v1/results/{task}", self._head, methods=["HEAD"]),
            Route("/v1/results/{task}/ipfshash", self._hash, methods=["GET"]),
        ]

    async def _version(self, request: Request) -> Response:
        return Response("9.1.0", media_type="text/plain")

    async def _token(self, request: Request) -> Response:
        signature = request.headers.get("authorization", "")
        try:
            told = read(await request.body(), AUTHORIZATION, "WorkerpoolAuthorization")
            await self._entitled(told, signature)
        except BadBody as problem:
            return self._refused(401, str(problem))
        wallet = told["workerWallet"]
        self._current.setdefault(wallet, self._issued(wallet))
        return Response(self._current[wallet], media_type="text/plain")

    async def _entitled(self, told: dict[str, Any], signature: str) -> None:
        hashed = packed(told["workerWallet"], told["chainTaskId"], told["enclaveChallenge"])
        if not signature.startswith("0x"):
            raise BadBody(f"{signature!r} is no signature in hex")
        if Chain.signer(hashed, signature) != told["workerWallet"]:
            raise BadBody("the header is not signed by the worker")
        view = await self.chain.task(told["chainTaskId"])
        if not view.status:
            raise BadBody("no such task")
        if await self.chain.now() >= view.final_deadline:
            raise BadBody("after the final deadline")
        deal = await self.chain.deal(view.deal_id)
        if told["enclaveChallenge"] != ZERO:
            raise BadBody("an enclave for a standard task")
        if Chain.signer(hashed, told["signature"]["value"]) != str(deal[2][1]).lower():
            raise BadBody("not signed by the owner of the pool")

    def _issued(self, wallet: str) -> str:
        claims = {"aud": wallet, "iat": 1_700_000_000, "sub": secrets.token_hex(8)}
        return jwt.encode(claims, self._key, algorithm="HS256")

    def _wallet(self, request: Request) -> str:
        """Whose token it is: the bare token, and the last of its wallet. Raises BadBody."""
        token = request.headers.get("authorization", "")
        options: Any = {"verify_aud": False}
        try:
            claims = jwt.decode(token, self._key, algorithms=["HS256"], options=options)
        except jwt.InvalidTokenError as problem:
            raise BadBody(f"{token[:20]!r} is no token of this proxy") from problem
        if self._current.get(claims["aud"]) != token:
            raise BadBody("another token was issued since")
        return str(claims["aud"])

    async def _upload(self, request: Request) -> Response:
        try:
            wallet = self._wallet(request)
        except BadBody as problem:
            return self._refused(401, str(problem))
        if self.failing:
            self.failing -= 1
            return Response(status_code=400)
        try:
            told = read(await request.body(), RESULT, "ResultModel")
            zipped = base64.b64decode(told["zip"], validate=True)
            await self._acceptable(wallet, told["chainTaskId"], zipped)
        except (BadBody, zipfile.BadZipFile, ValueError, KeyError) as problem:
            return self._refused(401, f"{type(problem).__name__}: {problem}")
        task = told["chainTaskId"]
        self.results[task] = zipped
        self.places[task] = f"/ipfs/{cid(zipped)}"
        return Response(self.places[task], media_type="text/plain")

    async def _acceptable(self, wallet: str, task: str, zipped: bytes) -> None:
        if task in self.results:
            raise BadBody("there is a result already")
        view = await self.chain.task(task)
        if view.status != REVEALING:
            raise BadBody(f"the task is not REVEALING but {view.status}")
        status, result, _ = await self.chain.contribution(task, wallet)
        if status != REVEALED:
            raise BadBody(f"{wallet} has not revealed: {status}")
        deal = await self.chain.deal(view.deal_id)
        if hexed(packed(task, digest(zipped, str(deal[8]).lower()))) != result:
            raise BadBody("the zip has another digest than what was revealed")

    async def _head(self, request: Request) -> Response:
        try:
            self._wallet(request)
        except BadBody as problem:
            return self._refused(401, str(problem))
        found = request.path_params["task"] in self.results
        return Response(status_code=204 if found else 404)

    async def _hash(self, request: Request) -> Response:
        place = self.places.get(request.path_params["task"])
        if place is None:
            return Response(status_code=404)
        return Response(place.removeprefix("/ipfs/"), media_type="text/plain")

    def _refused(self, status: int, why: str) -> Response:
        self.refusals.append(why)
        return Response(status_code=status)


def digest(zipped: bytes, callback: str = _NO_CALLBACK) -> str:
    """6.8: of the archive, whose root is /iexec_out."""
    with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    said = json.loads(files["computed.json"])
    if callback != _NO_CALLBACK:
        return hexed(keccak(bytes.fromhex(said["callback-data"].removeprefix("0x"))))
    path = said["deterministic-output-path"]
    if not path.startswith("/iexec_out"):
        raise BadBody(f"{path} is not in /iexec_out")
    inside = path.removeprefix("/iexec_out").strip("/")
    if inside in files:
        return "0x" + hashlib.sha256(files[inside]).hexdigest()
    root = f"{inside}/" if inside else ""
    children = sorted({n.removeprefix(root).split("/")[0] for n in files if n.startswith(root)})
    contents = [files.get(root + name) for name in children]
    hashes = [hashlib.sha256(each).digest() for each in contents if each is not None]
    return hexed(keccak(b"".join(hashes)))


def cid(content: bytes) -> str:
    """CIDv0 of a file that fits into one block of IPFS (256 KiB)."""
    if len(content) > 256 << 10:
        raise BadBody("this proxy knows no file of more than a block")
    size = _varint(len(content))
    unixfs = b"\x08\x02\x12" + size + content + b"\x18" + size
    node = b"\x0a" + _varint(len(unixfs)) + unixfs
    number = int.from_bytes(b"\x12\x20" + hashlib.sha256(node).digest())
    letters = ""
    while number:
        number, rest = divmod(number, 58)
        letters = _ALPHABET[rest] + letters
    return letters


def _varint(number: int) -> bytes:
    groups = [number & 127]
    while number := number >> 7:
        groups.append(number & 127)
    last = len(groups) - 1
    return bytes(group | (128 if at < last else 0) for at, group in enumerate(groups))
