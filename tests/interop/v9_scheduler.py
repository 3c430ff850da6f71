"""A conformance peer: a scheduler of the v9 stack, as strict as the Java one and stricter.

It is written from the wire protocol alone (sections 0 to 8) and shares no code with what it is
used to test. Whatever a worker should not have said is answered as Java would, and written down
in `problems`, which a test wants to be empty.
"""

from __future__ import annotations

import base64
import re
import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import jwt
import uvicorn
from eth_hash.auto import keccak
from eth_keys import KeyAPI
from eth_keys.exceptions import BadSignature, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from v9_broker import Broker
from v9_chain import Chain, lenient
from v9_core import Core
from v9_models import SIGNATURE, UPDATE, WALLET, WORKER, BadBody, fitting, read
from v9_proxy import V9Proxy
from v9_tasks import CoreWorker

VERSION = "9.3.0"
_HOUR = 3600
_NO_GAS = 22 * 10**15
"""wei; with less a wallet gets no work."""


@dataclass
class Exchange:
    """One request and its answer, and whose token it bore."""

    request: str
    body: str
    status: int
    answer: str
    wallet: str = ""


@dataclass
class V9Scheduler:
    """`core` is what is kept when the process ends; tokens, challenges and sessions are not."""

    chain: Chain
    pool: str
    port: int
    results_port: int
    websocket: bool = False
    period: int = 1000
    """Milliseconds between two demands of a worker."""
    whitelist: tuple[str, ...] = ()
    down: bool = False
    """The node is considered gone: demands and reports are answered by 503."""
    required_version: str = ""
    exchanges: list[Exchange] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    hasty: list[str] = field(default_factory=list)
    """Wallets that asked for work before the period was over."""
    unheard: list[str] = field(default_factory=list)
    """Tasks that somebody STARTED without listening to them."""
    word: str = field(default_factory=lambda: "0x" + secrets.token_hex(32))
    """What a ping is answered: the hash of the configuration."""
    proxy: V9Proxy = field(init=False)
    core: Core = field(init=False)
    broker: Broker = field(init=False)

    def __post_init__(self) -> None:
        self.proxy = V9Proxy(self.chain)
        self.broker = Broker(self.websocket)
        self.core = Core(self.chain, self.pool, self.proxy, self._publish)
        self._begin()

    def _publish(self, destination: str, body: str) -> int:
        return self.broker.publish(destination, body)

    def _begin(self) -> None:
        self._key = secrets.token_bytes(128)
        self._tokens: dict[str, str] = {}
        self._challenges: dict[str, tuple[str, float]] = {}
        self._demands: dict[str, float] = {}
        self._ended = anyio.Event()

    # -- a process ------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self) -> AsyncIterator[V9Scheduler]:
        """Scheduler, config server and result proxy."""
        self._begin()
        rest = Starlette(routes=[*self._routes(), *self.broker.routes()])
        proxy = Starlette(routes=self.proxy.routes())
        async with anyio.create_task_group() as tasks:
            servers = [
                _Server(self._recorded(rest), self.port),
                _Server(self._recorded(proxy), self.results_port),
            ]
            for each in servers:
                await tasks.start(each.live)
            tasks.start_soon(self.core.run)
            try:
                yield self
            finally:
                self.broker.drop()
                for each in servers:
                    each.end()
                tasks.cancel_scope.cancel()

    def expire_tokens(self) -> None:
        """As an hour does. They are kept until somebody presents one (1.5)."""
        for wallet in self._tokens:
            self._tokens[wallet] = self._issued(wallet, time.time() - 2 * _HOUR)

    # -- what is said ---------------------------------------------------------------------

    def _recorded(self, app: Any) -> Any:
        """The app with a memory of its exchanges, the channel's left out."""

        async def outer(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http" or scope["path"].startswith("/connect/"):
                await app(scope, receive, send)
                return
            path = scope["path"] + ("?" + q if (q := scope["query_string"].decode()) else "")
            said = Exchange(f"{scope['method']} {path}", "", 0, "")
            scope["said"] = said
            body, heard = await _whole(receive)
            if heard is None:
                return
            said.body = "<a zip>" if body.startswith(b"PK") else body.decode(errors="replace")

            async def answer(message: Any) -> None:
                if message["type"] == "http.response.start":
                    said.status = message["status"]
                else:
                    said.answer += message.get("body", b"").decode(errors="replace")
                await send(message)

            if "//" in scope["path"]:
                self.problems.append(f"a double slash: {path}")
                await Response(status_code=400)(scope, heard, answer)
            else:
                await app(scope, heard, answer)
            self.exchanges.append(said)

        return outer

    def statuses(self, task: str, wallet: str) -> list[str]:
        """What a wallet reported of a task and we took, in order."""
        replicate = self.core.tasks[task].replicates.get(wallet)
        return (
            [u.status for u in replicate.updates if u.modifier == "WORKER"] if replicate else []
        )

    def of(self, wallet: str, path: str) -> list[Exchange]:
        """What a wallet said with its token on this path."""
        return [e for e in self.exchanges if e.wallet == wallet and path in e.request]

    # -- REST (1) -------------------------------------------------------------------------

    def _routes(self) -> list[Route]:
        known = self._known
        return [
            Route("/version", self._version, methods=["GET"]),
            Route("/config/chain", self._chain_config, methods=["GET"]),
            Route("/workers/config", self._config, methods=["GET"]),
            Route("/workers/challenge", self._challenge, methods=["GET"]),
            Route("/workers/login", self._login, methods=["POST"]),
            Route("/workers/ping", known(self._ping), methods=["POST"]),
            Route("/workers/register", known(self._register), methods=["POST"]),
            Route("/workers/computing", known(self._computing), methods=["GET"]),
            Route("/replicates/available", known(self._available), methods=["GET"]),
            Route("/replicates/interrupted", known(self._interrupted), methods=["GET"]),
            Route("/replicates/{task}/updateStatus", known(self._update), methods=["POST"]),
            Route("/tasks/{task}", self._task, methods=["GET"]),
        ]

    async def _version(self, request: Request) -> Response:
        return _text(VERSION)

    async def _chain_config(self, request: Request) -> Response:
        told = {
            "chainId": self.chain.chain_id,
            "sidechain": False,
            "chainNodeUrl": self.chain.web3.provider.endpoint_uri,  # type: ignore[attr-defined]
            "iexecHubContractAddress": self.chain.hub.address.lower(),
            "blockTime": "PT1S",
        }
        return JSONResponse(told)

    async def _config(self, request: Request) -> Response:
        told = {
            "workerPoolAddress": self.pool,
            "schedulerPublicAddress": self.chain.me,
            "configServerUrl": f"http://127.0.0.1:{self.port}",
            "resultRepositoryURL": f"http://127.0.0.1:{self.results_port}",
            "askForReplicatePeriod": self.period,
            "requiredWorkerVersion": self.required_version,
        }
        return JSONResponse(told)

    async def _challenge(self, request: Request) -> Response:
        wallet = request.query_params.get("walletAddress")
        if wallet is None:
            return self._bad("no walletAddress")
        if not self._welcome(wallet):
            return Response(status_code=401)
        known, since = self._challenges.get(wallet, ("", 0.0))
        if not known or time.monotonic() - since > 300:
            known, since = _new_challenge(len(self._challenges)), time.monotonic()
            self._challenges[wallet] = known, since
        return _text(known)

    async def _login(self, request: Request) -> Response:
        wallet = request.query_params.get("walletAddress")
        if wallet is None:
            return self._bad("no walletAddress")
        try:
            WALLET(wallet, "walletAddress")
            value = read(await request.body(), SIGNATURE, "Signature")["value"]
        except BadBody as problem:
            return self._bad(str(problem))
        challenge, _ = self._challenges.get(wallet, ("", 0.0))
        if not self._welcome(wallet) or not challenge or not _signed(challenge, value, wallet):
            self.problems.append(f"{wallet} logs in with a bad signature, or is not welcome")
            return Response(status_code=401)
        del self._challenges[wallet]
        if wallet not in self._tokens:
            self._tokens[wallet] = self._issued(wallet, time.time())
        return _text(self._tokens[wallet])

    def _welcome(self, wallet: str) -> bool:
        return not self.whitelist or wallet in self.whitelist

    def _issued(self, wallet: str, now: float) -> str:
        claims = {
            "aud": f"iExec Scheduler v{VERSION}",
            "iat": int(now),
            "exp": int(now) + _HOUR,
            "sub": wallet,
        }
        return jwt.encode(claims, self._key, algorithm="HS256")

    def _known(
        self, handler: Callable[[Request, str], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """1.1: the token must be one that was issued, and be held still."""

        async def checked(request: Request) -> Response:
            header = request.headers.get("authorization")
            if header is None:
                return self._bad(f"no Authorization: {request.url.path}")
            token = header.removeprefix("Bearer ")
            wallet = next((w for w, held in self._tokens.items() if held == token), None)
            if wallet is None or token == header:
                return Response(status_code=401)
            try:
                audience = f"iExec Scheduler v{VERSION}"
                jwt.decode(token, self._key, algorithms=["HS256"], audience=audience)
            except jwt.ExpiredSignatureError:
                del self._tokens[wallet]
                return Response(status_code=401)
            request.scope["said"].wallet = wallet
            return await handler(request, wallet)

        return checked

    def _bad(self, why: str) -> Response:
        """As Spring refuses what it cannot read."""
        self.problems.append(why)
        told = {"timestamp": "2026-05-13T10:11:12.345+00:00", "status": 400}
        return JSONResponse({**told, "error": "Bad Request", "path": "/"}, 400)

    async def _ping(self, request: Request, wallet: str) -> Response:
        if await request.body():
            self.problems.append("a ping with a body")
        return _text(self.word)

    async def _register(self, request: Request, wallet: str) -> Response:
        try:
            told = read(await request.body(), WORKER, "WorkerModel")
        except BadBody as problem:
            return self._bad(str(problem))
        if told["walletAddress"] != wallet:
            self.problems.append(f"{wallet} says that it is {told['walletAddress']}")
        known = self.core.workers.get(wallet)
        if known is None:
            known = self.core.workers[wallet] = CoreWorker(wallet, told)
        else:
            known.model, known.registrations = told, known.registrations + 1
        return JSONResponse(known.told())

    async def _computing(self, request: Request, wallet: str) -> Response:
        worker = self.core.workers.get(wallet)
        return JSONResponse(worker.computing if worker else [])

    async def _available(self, request: Request, wallet: str) -> Response:
        block = request.query_params.get("blockNumber", "")
        if not re.fullmatch(r"-?\d+", block):
            return self._bad(f"blockNumber={block!r}")
        if self.down:
            return Response(status_code=503)
        now = time.monotonic()
        if now - self._demands.get(wallet, 0.0) < self.period / 1000 - 0.5:
            self.hasty.append(wallet)
            return Response(status_code=204)
        self._demands[wallet] = now
        if int(block) <= 0 or await self.chain.balance(wallet) < _NO_GAS:
            return Response(status_code=204)
        task = await self.core.supply(wallet)
        if task is None:
            return Response(status_code=204)
        permission = self.core.authorization(task, wallet)
        return JSONResponse({"workerpoolAuthorization": permission, "smsUrl": None})

    async def _interrupted(self, request: Request, wallet: str) -> Response:
        block = request.query_params.get("blockNumber", "")
        if not re.fullmatch(r"-?\d+", block):
            return self._bad(f"blockNumber={block!r}")
        return JSONResponse(await self.core.interrupted(wallet))

    async def _update(self, request: Request, wallet: str) -> Response:
        try:
            told = read(await request.body(), UPDATE, "ReplicateStatusUpdate")
            fitting(told)
        except BadBody as problem:
            return self._bad(f"{problem}: {(await request.body())[:300]!r}")
        if self.down:
            return Response(status_code=503)
        task = request.path_params["task"]
        if told["status"] == "STARTING" and not self.broker.listens(f"/topic/task/{task}"):
            self.unheard.append(task)
        status, word = await self.core.report(wallet, task, told)
        if not word:
            return Response(status_code=status)
        return JSONResponse(word, status)

    async def _task(self, request: Request) -> Response:
        """1.12: public. Its replicates are left out, as when there are none yet."""
        task = self.core.tasks.get(request.path_params["task"])
        return JSONResponse(task.told()) if task else Response(status_code=404)


class _Server(uvicorn.Server):
    """Serves in this event loop, and leaves signals alone."""

    def __init__(self, app: Any, port: int) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            ws="websockets-sansio",
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        super().__init__(config)
        self._port = port

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def live(self, *, task_status: Any) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._port))
        listener.listen(128)
        task_status.started()
        try:
            with anyio.CancelScope(shield=True):
                await self.serve(sockets=[listener])
        finally:
            listener.close()

    def end(self) -> None:
        """At once, open answers too."""
        self.should_exit = self.force_exit = True


async def _whole(receive: Any) -> tuple[bytes, Any]:
    """The body of a request, and how to receive it again; None when its sender died in the
    middle of it, which no server hands on."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return body, None
        body += message.get("body", b"")
        more = message.get("more_body", False)
    first = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Any:
        return first.pop() if first else await receive()

    return body, again


def _text(word: str) -> Response:
    return Response(word, media_type="text/plain")


def _new_challenge(number: int) -> str:
    """Base64 of 32 bytes. One in 4096 begins with 0x and loses it in web3j; here the first."""
    begin = b"\xd3\x1b" if number == 0 else b""
    raw = begin + secrets.token_bytes(32 - len(begin))
    return base64.b64encode(raw).decode()


def _signed(challenge: str, value: str, wallet: str) -> bool:
    """1.5: some recovery id gives the wallet."""
    digest, raw = bytes(keccak(lenient(challenge))), lenient(value)
    numbers = int.from_bytes(raw[:32]), int.from_bytes(raw[32:64])
    api = KeyAPI()
    for v in (0, 1):
        try:
            key = api.Signature(vrs=(v, *numbers)).recover_public_key_from_msg_hash(digest)
        except (BadSignature, ValidationError):
            continue
        if key.to_address() == wallet.lower():
            return True
    return False


__all__ = ["Exchange", "V9Scheduler"]
