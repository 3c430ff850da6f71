"""A conformance peer: a worker of the v9 stack, as strict as the Java one where it reads.

It is written from the wire protocol alone (sections 0 to 8) and shares no code with what it is
used to test. An app is a function here, since containers are no part of the protocol.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx2
from anyio.abc import TaskGroup
from eth_hash.auto import keccak
from v9_chain import (
    ACTIVE,
    CONTRIBUTED,
    REVEALED,
    REVEALING,
    Chain,
    View,
    hexed,
    lenient,
    packed,
)
from v9_channel import Channel, ProtocolError, must

VERSION = "9.2.0"
ZERO = "0x" + "0" * 40
WORDS = (
    *("PLEASE_CONTINUE", "PLEASE_WAIT", "PLEASE_START", "PLEASE_DOWNLOAD_APP"),
    *("PLEASE_DOWNLOAD_DATA", "PLEASE_COMPUTE", "PLEASE_CONTRIBUTE", "PLEASE_REVEAL"),
    *("PLEASE_UPLOAD", "PLEASE_CONTRIBUTE_AND_FINALIZE", "PLEASE_COMPLETE", "PLEASE_ABORT"),
)
CAUSES = ("CONTRIBUTION_TIMEOUT", "CONSENSUS_REACHED", "UNKNOWN")
CONFIG = (
    *("workerPoolAddress", "schedulerPublicAddress", "configServerUrl"),
    *("resultRepositoryURL", "askForReplicatePeriod", "requiredWorkerVersion"),
)
CHAIN = ("chainId", "sidechain", "chainNodeUrl", "iexecHubContractAddress", "blockTime")
AUTHORIZATION = (
    *("chainTaskId", "dealId", "taskIndex", "workerWallet", "enclaveChallenge", "signature"),
)
NOTIFICATION = (
    *("chainTaskId", "workersAddress", "taskNotificationType", "taskNotificationExtra"),
)
EXTRA = ("workerpoolAuthorization", "smsUrl", "blockNumber", "taskAbortCause")

App = Callable[[list[str]], Mapping[str, bytes]]
"""From its arguments what the app leaves in /iexec_out."""
Gate = Callable[[str, str], Awaitable[None]]
"""Called with the word and the task before a step; a test may hold it there."""


def exactly(told: Any, *fields: str) -> dict[str, Any]:
    """An object that a strict reader takes: no field too many; one may be missing."""
    must(isinstance(told, dict), f"an object was expected, not {told!r}")
    must(set(told) <= set(fields), f"unknown fields: {set(told) - set(fields)}")
    return dict(told)


class Failure(Exception):
    """A step failed; its text is the cause."""


async def straight_on(word: str, task: str) -> None:
    """Nothing is held."""


@dataclass
class Exchange:
    """One request and its answer."""

    request: str
    body: str
    status: int
    answer: str


@dataclass
class Held:
    """What the worker has in memory of a task."""

    authorization: dict[str, Any]
    digest: str = ""


@dataclass
class V9Worker:
    """One worker process; `live` is its life, and a restart begins another one."""

    core_url: str
    pool: str
    key: bytes
    folder: Path
    abi: Path
    app: App
    name: str = "java"
    cpus: int = 1
    ping: float = 2.0
    check: float = 2.0
    """Seconds; 10 and 15 in Java, which makes tests slow."""
    period: float = 0.0
    """Seconds between two demands; 0: what the scheduler says."""
    gate: Gate = straight_on
    exchanges: list[Exchange] = field(default_factory=list)
    starts: int = 0
    told: list[tuple[str, str, str]] = field(default_factory=list)
    """Each report with its task and the word that answered it."""
    asking: bool = True
    trouble: list[BaseException] = field(default_factory=list)

    async def live(self) -> None:
        """Until cancelled; a changed ping begins anew."""
        while True:
            self.starts += 1
            self._token, self._first_ping, self._tasks = "", "", dict[str, Held]()
            self._again = anyio.Event()
            self.channel = Channel(self.core_url, self.check, self._heard)
            async with httpx2.AsyncClient(base_url=self.core_url, timeout=60) as self._http:
                await self._begin()
                async with anyio.create_task_group() as self._group:
                    await self._loops(self._group)
                    await self._again.wait()
                    self._group.cancel_scope.cancel()
            for task in list(self._tasks):
                self._purge_folder(task)

    async def _loops(self, group: TaskGroup) -> None:
        for service in (self.channel.keep, self._pings, self._demands):
            group.start_soon(service)
        for notification in await self._interrupted():
            task = notification["chainTaskId"]
            if (self._out(task) / "iexec_out.zip").exists():
                self._remember(notification["taskNotificationExtra"])
                self._tasks[task].digest = self._digest(task)
                await self.channel.subscribe(f"/topic/task/{task}")
                group.start_soon(self._process, notification)
        for folder in self._base.iterdir() if self._base.exists() else ():
            if folder.name not in self._tasks:
                shutil.rmtree(folder)

    # -- starting ------------------------------------------------------------------------

    async def _begin(self) -> None:
        config = exactly((await self._ask("GET", "/workers/config")).json(), *CONFIG)
        must(isinstance(config["requiredWorkerVersion"], str), "requiredWorkerVersion")
        must(config["requiredWorkerVersion"] in ("", VERSION), "the worker would exit")
        must(
            config["workerPoolAddress"] == self.pool.lower(), "another pool, or not lower case"
        )
        self._period = self.period or config["askForReplicatePeriod"] / 1000
        self._store = config["resultRepositoryURL"]
        url = config["configServerUrl"]
        must(not url.endswith("/"), "core refuses // in addresses")
        chain = exactly((await self._ask("GET", f"{url}/config/chain")).json(), *CHAIN)
        must(set(chain) == set(CHAIN), "the config server has five fields")
        must(str(chain["blockTime"]).startswith("PT"), "blockTime is ISO-8601")
        self.chain = Chain(
            chain["chainNodeUrl"],
            chain["chainId"],
            chain["iexecHubContractAddress"],
            self.key,
            self.abi,
        )
        self.me = self.chain.me
        await self._login()
        must((await self._ask("GET", "/version")).text, "no version")
        await self._member("POST", "/workers/register", json=self._model())

    def _model(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "walletAddress": self.me,
            "os": "Linux",
            "cpu": "amd64",
            "cpuNb": self.cpus,
            "memorySize": -1,
            "gpuEnabled": False,
            "teeEnabled": False,
        }

    async def _login(self) -> None:
        who = {"walletAddress": self.me}
        challenge = (await self._ask("GET", "/workers/challenge", params=who)).text
        must(challenge and not challenge.startswith('"'), "the challenge is bare text")
        signature = self.chain.raw(bytes(keccak(lenient(challenge))))
        body = {"value": signature}
        token = (await self._ask("POST", "/workers/login", params=who, json=body)).text
        must(token and not set(token) & set(' "\n'), "the token is bare text")
        self._token = token

    # -- HTTP ----------------------------------------------------------------------------

    async def _ask(self, verb: str, path: str, **more: Any) -> httpx2.Response:
        answer = await self._request(verb, path, **more)
        must(answer.is_success, f"{verb} {path}: {answer.status_code} {answer.text}")
        return answer

    async def _member(self, verb: str, path: str, **more: Any) -> httpx2.Response:
        """With the token; a 401 makes it log in again, once or twice in a row."""
        for _ in range(3):
            head = {"authorization": f"Bearer {self._token}"}
            answer = await self._request(verb, path, headers=head, **more)
            if answer.status_code != 401:
                return answer
            must("retry-after" not in answer.headers, "Java would not log in again")
            await self._login()
        raise ProtocolError("a fresh token is refused")

    async def _request(
        self, verb: str, path: str, *, json: Any = None, headers: Any = None, **more: Any
    ) -> httpx2.Response:
        must("//" not in path.partition("://")[2] or "://" in path, "a double slash")
        body = b"" if json is None else _json(json)
        every = {"content-type": "application/json", "accept": "*/*", **(headers or {})}
        for attempt in range(5):
            try:
                answer = await self._http.request(
                    verb, path, content=body, headers=every, **more
                )
                break
            except httpx2.TransportError:
                if attempt == 4:
                    raise
                await anyio.sleep(0.15 * 1.5**attempt)
        asked = f"{verb} {answer.request.url.raw_path.decode()}"
        self.exchanges.append(Exchange(asked, body.decode(), answer.status_code, answer.text))
        return answer

    async def _pings(self) -> None:
        while True:
            try:
                answer = await self._member("POST", "/workers/ping")
            except httpx2.TransportError:
                await anyio.sleep(self.ping)
                continue
            if answer.is_success and answer.text:
                must(not answer.text.startswith('"'), "the ping is bare text")
                self._first_ping = self._first_ping or answer.text
                if answer.text.lower() != self._first_ping.lower():
                    busy = (await self._member("GET", "/workers/computing")).json()
                    if not busy:
                        self._again.set()
                        return
            await anyio.sleep(self.ping)

    async def _demands(self) -> None:
        while True:
            if self.asking:
                with suppress(httpx2.TransportError):
                    await self._demand()
            await anyio.sleep(self._period)

    async def _demand(self) -> None:
        block = {"blockNumber": await self.chain.head()}
        answer = await self._member("GET", "/replicates/available", params=block)
        must(answer.status_code in (200, 204, 503), f"available: {answer.status_code}")
        if answer.status_code != 200:
            must(answer.status_code == 503 or not answer.content, "204 has no body")
            return
        offer = exactly(answer.json(), "workerpoolAuthorization", "smsUrl")
        must(offer["smsUrl"] is None, "an SMS for a standard task")
        authorization = exactly(offer["workerpoolAuthorization"], *AUTHORIZATION)
        must(await self._verified(authorization), "the authorization does not verify")
        task = authorization["chainTaskId"]
        view = await self.chain.task(task)
        must(view.deal_id == authorization["dealId"], "of another deal")
        self._tasks[task] = Held(authorization)
        await self.channel.subscribe(f"/topic/task/{task}")
        self._group.start_soon(self._run, "PLEASE_START", task, None)

    async def _verified(self, told: dict[str, Any]) -> bool:
        signature = exactly(told["signature"], "value")["value"]
        must(signature[-2:] in ("1b", "1c"), "v is 27 or 28")
        must(told["workerWallet"] == self.me, "for another wallet, or not in lower case")
        hashed = packed(told["workerWallet"], told["chainTaskId"], told["enclaveChallenge"])
        owner = await self.chain.owner(self.pool)
        return Chain.signer(hashed, signature) == owner

    async def _interrupted(self) -> list[dict[str, Any]]:
        block = {"blockNumber": await self.chain.head()}
        answer = await self._member("GET", "/replicates/interrupted", params=block)
        must(answer.status_code == 200, f"interrupted: {answer.status_code}")
        found = [exactly(each, *NOTIFICATION) for each in answer.json()]
        for each in found:
            exactly(each["taskNotificationExtra"], *EXTRA)
            must(each["workersAddress"] == [self.me], "for somebody else")
        return found

    # -- notifications -------------------------------------------------------------------

    async def _heard(self, body: str) -> None:
        """Fields that are unknown are passed over here; words are not."""
        told = json.loads(body)
        must(told["taskNotificationType"] in WORDS, f"no word: {told}")
        extra = told.get("taskNotificationExtra") or {}
        cause = extra.get("taskAbortCause")
        must(cause is None or cause in CAUSES, f"no cause: {cause}")
        who = told.get("workersAddress")
        if who is not None and (who == [] or self.me in who):
            self._group.start_soon(self._process, told)

    async def _process(self, told: dict[str, Any]) -> None:
        extra = told.get("taskNotificationExtra") or {}
        if extra.get("workerpoolAuthorization") and not self._remember(extra):
            return
        await self._run(told["taskNotificationType"], told["chainTaskId"], extra)

    def _remember(self, extra: dict[str, Any]) -> bool:
        told = exactly(extra["workerpoolAuthorization"], *AUTHORIZATION)
        self._tasks.setdefault(told["chainTaskId"], Held(told))
        return True

    async def _run(self, word: str, task: str, extra: dict[str, Any] | None) -> None:
        """Do what is asked, and then what the answer asks."""
        try:
            while word not in ("PLEASE_WAIT", "PLEASE_CONTINUE"):
                await self.gate(word, task)
                word = await self._step(word, task, extra or {})
                extra = None
        except ProtocolError as problem:
            self.trouble.append(problem)
            raise

    async def _step(self, word: str, task: str, extra: dict[str, Any]) -> str:
        if word == "PLEASE_ABORT":
            await self._forget(task)
            cause = extra.get("taskAbortCause") or "UNKNOWN"
            return await self._tell(task, "ABORTED", {"cause": cause})
        begun, done, failed = NAMES[word]
        await self._tell(task, begun)
        try:
            details = await STEPS[word](self, task, extra)
        except Failure as cause:
            return await self._tell(task, failed, {"cause": str(cause)})
        return await self._tell(task, done, details)

    async def _tell(self, task: str, status: str, details: dict[str, Any] | None = None) -> str:
        """Again and again until there is an answer; not before there is a session."""
        body = {
            "status": status,
            "modifier": None,
            "date": None,
            "details": _details(details) if details else None,
            "success": not status.endswith("_FAILED"),
        }
        while True:
            await self.channel.ready()
            try:
                answer = await self._member(
                    "POST", f"/replicates/{task}/updateStatus", json=body
                )
            except httpx2.TransportError:
                await anyio.sleep(0.2)
                continue
            if answer.is_success:
                must(answer.status_code in (200, 202, 208), f"{status}: {answer.status_code}")
                word = answer.json() if answer.content else None
                must(word in WORDS, f"{status} is answered by {answer.text!r}")
                self.told.append((task, status, word))
                return str(word)
            must(answer.status_code == 503, f"{status}: {answer.status_code} {answer.text}")
            await anyio.sleep(0.2)

    # -- the steps -----------------------------------------------------------------------

    async def _preflight(self, task: str) -> View:
        if task not in self._tasks:
            raise Failure("WORKERPOOL_AUTHORIZATION_NOT_FOUND")
        view = await self.chain.task(task)
        deal = await self.chain.deal(view.deal_id)
        if await self.chain.stake() < deal[13]:
            raise Failure("STAKE_TOO_LOW")
        if view.status != ACTIVE:
            raise Failure("TASK_NOT_ACTIVE")
        if await self.chain.now() >= view.contribution_deadline:
            raise Failure("CONTRIBUTION_TIMEOUT")
        if self.me in view.contributors:
            raise Failure("CONTRIBUTION_ALREADY_SET")
        return view

    async def _start(self, task: str, extra: dict[str, Any]) -> None:
        await self._preflight(task)

    async def _compute(self, task: str, extra: dict[str, Any]) -> dict[str, Any]:
        view = await self._preflight(task)
        params = json.loads((await self.chain.deal(view.deal_id))[9])
        out = self._out(task) / "iexec_out"
        out.mkdir(parents=True, exist_ok=True)
        for name, content in self.app(params["iexec_args"].split(" ")).items():
            (out / name).write_bytes(content)
        with zipfile.ZipFile(self._out(task) / "iexec_out.zip", "w") as zipped:
            for path in sorted(out.iterdir()):
                zipped.write(path, path.name)
        shutil.copy(out / "computed.json", self._out(task) / "computed.json")
        self._tasks[task].digest = self._digest(task)
        return {"exitCode": 0, "computeLogs": {"walletAddress": self.me, "stdout": "hello"}}

    async def _contribute(self, task: str, extra: dict[str, Any]) -> dict[str, Any]:
        await self._preflight(task)
        held = self._tasks[task]
        if not held.digest:
            raise Failure("DETERMINISM_HASH_NOT_FOUND")
        result, seal = packed(task, held.digest), packed(self.me, task, held.digest)
        permission = lenient(held.authorization["signature"]["value"])
        log = await self.chain.send(
            "contribute",
            "TaskContribute(bytes32,address,bytes32)",
            task,
            *(result, seal, ZERO, bytes(32), permission),
            gas=500_000,
        )
        return self._receipt(log)

    async def _reveal(self, task: str, extra: dict[str, Any]) -> dict[str, Any]:
        block = extra.get("blockNumber", 0)
        if not block:
            raise Failure("CONSENSUS_BLOCK_MISSING")
        held = self._tasks.get(task)
        if held is None or not held.digest:
            raise Failure("DETERMINISM_HASH_NOT_FOUND")
        if await self.chain.head() < block:
            raise Failure("BLOCK_NOT_REACHED")
        view, mine = await self.chain.task(task), await self.chain.contribution(task)
        result = hexed(packed(task, held.digest))
        seal = hexed(packed(self.me, task, held.digest))
        in_time = await self.chain.now() < view.reveal_deadline
        if not (
            view.status == REVEALING
            and in_time
            and mine == (CONTRIBUTED, result, seal)
            and view.consensus == result
        ):
            raise Failure("CANNOT_REVEAL")
        log = await self.chain.send(
            "reveal",
            "TaskReveal(bytes32,address,bytes32)",
            task,
            lenient(held.digest),
            gas=100_000,
        )
        return self._receipt(log)

    async def _upload(self, task: str, extra: dict[str, Any]) -> dict[str, Any]:
        """6.9: a ticket for the authorization, then the zip in Base64, inside JSON."""
        held = self._tasks[task]
        told = held.authorization
        hashed = packed(told["workerWallet"], task, told["enclaveChallenge"])
        ticket = {"authorization": self.chain.personal(hashed)}
        store = self._store
        answer = await self._request(
            "POST", f"{store}/v1/results/token", json=told, headers=ticket
        )
        if answer.status_code != 200:
            raise Failure("RESULT_LINK_MISSING")
        must(not answer.text.startswith('"'), "the ticket is bare text")
        zipped = (self._out(task) / "iexec_out.zip").read_bytes()
        model = {
            "chainTaskId": task,
            "dealId": "0x" + "0" * 64,
            "taskIndex": 0,
            "image": None,
            "cmd": None,
            "zip": base64.b64encode(zipped).decode(),
            "deterministHash": held.digest,
            "enclaveSignature": "0x" + "0" * 130,
        }
        head = {"authorization": answer.text}
        answer = await self._request("POST", f"{store}/v1/results", json=model, headers=head)
        if answer.status_code != 200:
            raise Failure("RESULT_LINK_MISSING")
        must(answer.text.startswith("/ipfs/"), f"no place: {answer.text!r}")
        link = f'{{ "storage": "ipfs", "location": "{answer.text}" }}'
        return {"resultLink": link, "chainCallbackData": None}

    async def _complete(self, task: str, extra: dict[str, Any]) -> None:
        await self._forget(task)

    async def _nothing(self, task: str, extra: dict[str, Any]) -> None:
        await self._preflight(task)

    # -- files ---------------------------------------------------------------------------

    @property
    def _base(self) -> Path:
        return self.folder / self.name

    def _out(self, task: str) -> Path:
        return self._base / task / "output"

    def _digest(self, task: str) -> str:
        """6.8, without callback."""
        said = json.loads((self._out(task) / "computed.json").read_text())
        path = self._out(task) / str(said["deterministic-output-path"]).lstrip("/")
        if path.is_file():
            return "0x" + hashlib.sha256(path.read_bytes()).hexdigest()
        parts = [
            hashlib.sha256(each.read_bytes()).digest() if each.is_file() else b""
            for each in sorted(path.iterdir(), key=str)
        ]
        return hexed(keccak(b"".join(parts)))

    async def _forget(self, task: str) -> None:
        await self.channel.unsubscribe(f"/topic/task/{task}")
        self._purge_folder(task)
        self._tasks.pop(task, None)

    def _purge_folder(self, task: str) -> None:
        shutil.rmtree(self._base / task, ignore_errors=True)

    @staticmethod
    def _receipt(log: Any) -> dict[str, Any]:
        if log is None:
            raise Failure("CHAIN_RECEIPT_NOT_VALID")
        where = {"blockNumber": log["blockNumber"], "txHash": hexed(log["transactionHash"])}
        return {"chainReceipt": where}

    def statuses(self, task: str) -> list[str]:
        """What was reported of a task."""
        return [status for told, status, _ in self.told if told == task]

    def contributed(self, task: str) -> bool:
        """Whether it has reported its vote."""
        return "CONTRIBUTED" in self.statuses(task)


def _details(told: dict[str, Any]) -> dict[str, Any]:
    """Every field, as Java writes them."""
    every = (
        *("chainReceipt", "resultLink", "chainCallbackData", "errorMessage", "cause"),
        *("computeLogs", "exitCode", "teeSessionGenerationError"),
    )
    return {name: told.get(name) for name in every}


def _json(body: Any) -> bytes:
    stream = io.StringIO()
    json.dump(body, stream, separators=(",", ":"))
    return stream.getvalue().encode()


NAMES = {
    "PLEASE_START": ("STARTING", "STARTED", "START_FAILED"),
    "PLEASE_DOWNLOAD_APP": ("APP_DOWNLOADING", "APP_DOWNLOADED", "APP_DOWNLOAD_FAILED"),
    "PLEASE_DOWNLOAD_DATA": ("DATA_DOWNLOADING", "DATA_DOWNLOADED", "DATA_DOWNLOAD_FAILED"),
    "PLEASE_COMPUTE": ("COMPUTING", "COMPUTED", "COMPUTE_FAILED"),
    "PLEASE_CONTRIBUTE": ("CONTRIBUTING", "CONTRIBUTED", "CONTRIBUTE_FAILED"),
    "PLEASE_REVEAL": ("REVEALING", "REVEALED", "REVEAL_FAILED"),
    "PLEASE_UPLOAD": ("RESULT_UPLOADING", "RESULT_UPLOADED", "RESULT_UPLOAD_FAILED"),
    "PLEASE_COMPLETE": ("COMPLETING", "COMPLETED", "COMPLETE_FAILED"),
}
STEPS: dict[
    str, Callable[[V9Worker, str, dict[str, Any]], Awaitable[dict[str, Any] | None]]
] = {
    "PLEASE_START": V9Worker._start,
    "PLEASE_DOWNLOAD_APP": V9Worker._nothing,
    "PLEASE_DOWNLOAD_DATA": V9Worker._nothing,
    "PLEASE_COMPUTE": V9Worker._compute,
    "PLEASE_CONTRIBUTE": V9Worker._contribute,
    "PLEASE_REVEAL": V9Worker._reveal,
    "PLEASE_UPLOAD": V9Worker._upload,
    "PLEASE_COMPLETE": V9Worker._complete,
}

__all__ = ["REVEALED", "Exchange", "V9Worker"]
