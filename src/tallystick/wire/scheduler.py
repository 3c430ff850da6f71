"""The scheduler's REST interface to its workers: bodies and the worker's client.

Routes and bodies are those of the v9 peers, to the field. What is ours no peer uses: a demand
may `wait` for work, `/replicates/facts` tells from a cursor what was decided, and two headers
say which process speaks for a wallet, and that the scheduler is one of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
import httpx2
from pydantic import Field, ValidationError

from tallystick import __version__
from tallystick.engine import timing
from tallystick.engine.errors import Refused, Unavailable
from tallystick.engine.trust import Authority, trusting
from tallystick.poco.values import Address, Hash, TaskId
from tallystick.wire.auth import login_digest
from tallystick.wire.authorization import Body, WorkerpoolAuthorization
from tallystick.wire.excuses import told_reason
from tallystick.wire.news import PoolFeed
from tallystick.wire.versions import SCHEDULER

PATIENCE = 25.0
"""Seconds that a waiting request may be held open by the scheduler."""

NO_WORK = "x-no-work"
"""The header in which an empty answer tells why there is no work: a word of `NoWork`."""

INSTANCE = "x-tallystick-instance"
"""The header in which a worker of ours names its process: a wallet belongs to one of them."""

_OURS = ("contribute_and_finalize", "digest_first")


class PublicConfig(Body):
    """`GET /workers/config`."""

    worker_pool_address: Address
    scheduler_public_address: Address
    config_server_url: str
    result_repository_url: str = Field(alias="resultRepositoryURL")
    ask_for_replicate_period: int = 5000
    """Milliseconds between two demands of a worker that cannot wait for work."""
    required_worker_version: str = ""


class ChainConfig(Body):
    """`GET /config/chain`: exactly these five fields."""

    chain_id: int
    sidechain: bool = False
    """True where gas is free."""
    chain_node_url: str
    iexec_hub_contract_address: Address
    block_time: str = "PT5S"


class WorkerModel(Body):
    """What a worker says of itself at `POST /workers/register`."""

    name: str = Field(max_length=200)
    wallet_address: Address | None = None
    os: str = Field(default="", max_length=200)
    cpu: str = Field(default="", max_length=200)
    cpu_nb: int = Field(default=1, lt=1 << 31)
    memory_size: int = 0
    gpu_enabled: bool = False
    tee_enabled: bool = False
    tdx_enabled: bool = False
    contribute_and_finalize: bool = False
    """Whether its vote finalizes a task that one vote decides. Peers of ours alone tell it."""
    digest_first: bool = False
    """Whether it can hand in its digest before it may vote. Peers of ours alone tell it."""

    @property
    def slots(self) -> int:
        """How many replicates it computes at a time."""
        return 1 if self.gpu_enabled else max(1, self.cpu_nb)


class ReplicateOffer(Body):
    """`GET /replicates/available`: a replicate for the worker that asked."""

    workerpool_authorization: WorkerpoolAuthorization
    sms_url: str | None = None


class OwnOffer(ReplicateOffer):
    """The same for ours: from where to read the chain, and whether one vote may finalize."""

    weight: int = 0
    from_block: int = 0
    alone: bool = False
    digest_first: bool = False
    """Whether the authorization is signed only when the digest was handed in."""
    goes_on: bool = False
    """Whether the digest is wanted even when others have decided the task."""


class ComputeLogs(Body):
    """What an app printed, each the last 100,000 characters."""

    wallet_address: Address | None = None
    stdout: str = ""
    stderr: str = ""


class ChainReceipt(Body):
    """Where a transaction was mined."""

    block_number: int = 0
    tx_hash: str = ""


class StatusDetails(Body):
    """What goes with a status; most fields belong to one status only."""

    chain_receipt: ChainReceipt | None = None
    result_link: str | None = Field(default=None, max_length=4096)
    chain_callback_data: str | None = None
    error_message: str | None = None
    cause: str | None = Field(default=None, pattern=r"^[A-Z][A-Z0-9_]{0,127}$")
    compute_logs: ComputeLogs | None = None
    exit_code: int | None = Field(default=None, ge=-(1 << 31), lt=1 << 32)
    tee_session_generation_error: str | None = None
    result_digest: str | None = Field(
        default=None, pattern=r"^0x[0-9a-f]{64}$", exclude_if=lambda value: value is None
    )
    """What was computed, handed in before the vote. Peers of ours alone tell it."""


class StatusUpdate(Body):
    """`POST /replicates/{chainTaskId}/updateStatus`."""

    status: str
    modifier: str | None = None
    date: str | int | None = None
    details: StatusDetails | None = None


class NotYet(Exception):
    """A report that the scheduler refuses as long as it knows less of the chain than we do."""


class Unwelcome(Refused):
    """The scheduler does not take us for a worker of its pool: what we said may be right."""

    exit_code = 6


class WalletInUse(Unwelcome):
    """Another worker uses our wallet; the scheduler's sentence names it."""


class NotRegistered(Refused):
    """The scheduler does not know this worker (any more): it has to register first."""


B = TypeVar("B", bound=Body)

Sign = Callable[[Hash], bytes]
"""A wallet's raw signature of a digest."""


class SchedulerClient:
    """One worker's connection to its scheduler. Logs in by itself, and again when it must.

    Every call raises Unavailable when the scheduler does not answer or is not ready, and
    Refused when it says no for good.
    """

    def __init__(
        self, url: str, *, wallet: Address, sign: Sign, instance: str = "", ca: Authority = None
    ) -> None:
        """`instance` names this process among those that may have the same wallet; `ca` holds
        certificates that are believed beside the system's. Raises BadSettings."""
        self.url, self._ca = url.rstrip("/"), ca
        self._wallet, self._sign, self._token = wallet, sign, ""
        self._turn = anyio.Lock()
        self.why_none = ""
        """Why the last demand got nothing, in the scheduler's word; empty when it said none."""
        self.required_version = ""
        """Which workers the pool takes, as it said at the last login; empty: any."""
        self.kin = True
        """Whether the scheduler is one of ours, as far as it has told."""
        self.told_time = ""
        """The scheduler's clock at its last answer, as HTTP writes it."""
        self.successor = ""
        """The scheduler's sentence once another worker has taken our wallet over."""
        named = {INSTANCE: instance} if instance else {}
        self._http = httpx2.AsyncClient(
            base_url=self.url,
            timeout=httpx2.Timeout(10.0, read=PATIENCE + 10),
            # Signs of life go through one connection; our schedulers keep it for 75 s.
            limits=httpx2.Limits(keepalive_expiry=30.0),
            verify=trusting(self.url, ca=ca),
            headers={"user-agent": f"tallystick/{__version__}", **named},
        )
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._http)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    @property
    def token(self) -> str:
        """What the scheduler gave us at the last login; empty before."""
        return self._token

    async def version(self) -> str:
        """The scheduler's version."""
        return (await self._ask("GET", "/version")).text

    async def config(self) -> PublicConfig:
        """What the pool tells every worker."""
        answer = await self._ask("GET", "/workers/config")
        self.kin = SCHEDULER in answer.headers
        return self._read(PublicConfig, answer)

    async def chain_config(self, url: str) -> ChainConfig:
        """The chain of the pool, from its configuration server at `url`."""
        if url.startswith("https:") and not self.url.startswith("https:"):
            # This connection checks no certificates.
            other = SchedulerClient(url, wallet=self._wallet, sign=self._sign, ca=self._ca)
            async with other:
                return await other.chain_config(url)
        answer = await self._ask("GET", f"{url.rstrip('/')}/config/chain")
        return self._read(ChainConfig, answer)

    async def login(self) -> None:
        """Prove who we are; done by itself wherever it is needed. Raises Unwelcome."""
        await self._renew(self._token)

    async def register(self, model: WorkerModel, *, takeover: bool = False) -> None:
        """Tell who we are and what this machine can do. Counts as a ping.

        Raises WalletInUse while another worker with this wallet is alive, unless `takeover`.
        """
        await self.member(
            "POST",
            "/workers/register",
            content=model.json_bytes(*(() if self.kin else _OURS)),
            params={"takeover": "true"} if takeover and self.kin else {},
        )
        self.successor = ""

    async def ping(self) -> str:
        """Tell that we live. The answer changes when the pool's configuration did."""
        return (await self.member("POST", "/workers/ping")).text

    async def leave(self) -> None:
        """Say goodbye. A scheduler of another make does not know the word, and need not."""
        with suppress(Refused):
            if self.kin:
                await self.member("POST", "/workers/leave")

    async def demand(self, block: int, *, wait: float) -> OwnOffer | None:
        """Ask for a replicate, for up to `wait` seconds. Raises NotRegistered."""
        answer = await self.member(
            "GET", "/replicates/available", params={"blockNumber": block, "wait": wait}
        )
        if answer.status_code == 204:
            self.why_none = answer.headers.get(NO_WORK, "")[:40]
            return None
        return self._read(OwnOffer, answer)

    async def news(self, after: int, *, of: str, wait: float) -> PoolFeed:
        """What was decided about us past the cursor that process `of` gave us, waiting up to
        `wait` seconds for it."""
        answer = await self.member(
            "GET", "/replicates/facts", params={"after": after, "of": of, "wait": wait}
        )
        return self._read(PoolFeed, answer)

    async def tell(self, task: TaskId, update: StatusUpdate) -> str:
        """Report a status; the answer is the next action in v9 words.

        Raises NotYet when it does not follow from what the scheduler knows of the task.
        """
        timing.sent(f"tell {update.status}")
        answer = await self.member(
            "POST", f"/replicates/{task}/updateStatus", content=update.json_bytes()
        )
        if answer.status_code == 202:
            raise NotYet(f"The scheduler cannot place {update.status} of {task} yet.")
        return answer.text.strip('"')

    async def member(self, verb: str, path: str, **request: Any) -> httpx2.Response:
        """A request that needs a token. A refused one is renewed, and once more: a v9 scheduler
        may answer a login with a token that has expired."""
        if not self._token:
            await self._renew("")
        for attempt in (1, 2, 3):
            token = self._token
            answer = await self._try(
                verb, path, headers={"authorization": f"Bearer {token}"}, **request
            )
            if answer.status_code == 409:
                self.successor = f"{told_reason(answer.content)}."
                raise WalletInUse(self.successor)
            if answer.status_code != 401:
                return _accepted(answer)
            if attempt < 3:
                await self._renew(token)
        raise Unwelcome(f"The scheduler at {self.url} does not accept the token it gave us.")

    async def _renew(self, old: str) -> None:
        """Log in, unless another request did so meanwhile: a challenge is answered once."""
        async with self._turn:
            if self._token == old:
                self._token = await self._login()

    async def _login(self) -> str:
        challenge = await self._ask(
            "GET", "/workers/challenge", params={"walletAddress": str(self._wallet)}
        )
        signature = self._sign(login_digest(challenge.text))
        answer = await self._ask(
            "POST",
            "/workers/login",
            params={"walletAddress": str(self._wallet)},
            json={"value": "0x" + signature.hex()},
        )
        token = answer.text
        if not (token.isascii() and token.isprintable()):
            raise Unavailable(f"The scheduler at {self.url} answers a login with no token.")
        self.required_version = (await self.config()).required_worker_version
        return token

    def _read(self, kind: type[B], answer: httpx2.Response) -> B:
        try:
            return kind.model_validate_json(answer.content)
        except ValidationError as problem:
            raise Unavailable(
                f"What answers at {self.url}{answer.url.path} does not speak as a scheduler"
                f" ({problem.error_count()} mistakes): is the address right?"
            ) from problem

    async def _ask(self, verb: str, path: str, **request: Any) -> httpx2.Response:
        return _accepted(await self._try(verb, path, **request))

    async def _try(
        self, verb: str, path: str, *, headers: dict[str, str] | None = None, **request: Any
    ) -> httpx2.Response:
        kind = {"content-type": "application/json"}
        try:
            answer = await self._http.request(
                verb, path, headers=kind | (headers or {}), **request
            )
        except (httpx2.HTTPError, httpx2.InvalidURL) as trouble:
            reason = str(trouble) or type(trouble).__name__
            raise Unavailable(
                f"The scheduler at {self.url} did not answer: {reason}."
            ) from trouble
        self.told_time = answer.headers.get("date", "")
        return answer


def _accepted(answer: httpx2.Response) -> httpx2.Response:
    path, status = answer.url.path, answer.status_code
    if answer.is_success:
        return answer
    if status in (401, 403):
        why = told_reason(answer.content)
        raise Unwelcome(f"The scheduler refused us at {path} ({status}): {why}.")
    if status == 412:
        raise NotRegistered("The scheduler does not know this worker: it has to register.")
    if status in (408, 425, 429) or answer.is_server_error:
        raise Unavailable(f"The scheduler is not ready ({status}).")
    raise Refused(f"The scheduler answered {status} at {path}.")
