"""Looks at everything that a worker needs, side by side: what fails hides nothing else."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread

from tallystick.chain import keystore
from tallystick.chain.abi import quantity
from tallystick.chain.answers import RpcError
from tallystick.chain.deals import latest_deal
from tallystick.chain.hub import Hub
from tallystick.chain.networks import UnconfirmedHub, confirm, confirm_answers, deployment_of
from tallystick.chain.queries import read_head
from tallystick.chain.rpc import Rpc
from tallystick.chain.standing import purse
from tallystick.chain.wallet import BadKeystore, Wallet, WrongPassword
from tallystick.engine.errors import Refused, Unavailable
from tallystick.engine.settings import BadSettings
from tallystick.execution.executor import Executor, RuntimeUnfit
from tallystick.execution.probe import run_marker
from tallystick.poco.values import ZERO_ADDRESS, Address
from tallystick.wire.scheduler import ChainConfig, PublicConfig, SchedulerClient, Unwelcome
from tallystick.worker import networks, preflight, verdicts
from tallystick.worker.config import WorkerConfig
from tallystick.worker.funds import fees_of
from tallystick.worker.introduction import meant
from tallystick.worker.machine import in_container, look, look_for_enclaves
from tallystick.worker.preflight import Verdict, unknown
from tallystick.worker.runtime import open_executor

PATIENCE: Final = 5.0
"""Seconds that the scheduler, and the chain, may take to answer."""

ORDER: Final = (
    "processors",
    "architecture",
    "memory",
    "disk",
    "container runtime",
    "container run",
    "shared folders",
    "isolation",
    "network of apps",
    "trusted execution",
    "wallet file",
    "wallet mode",
    "wallet password",
    "scheduler",
    "workerpool",
    "version",
    "login",
    "clock",
    "chain",
    "hub",
    "node in sync",
    "ETH for gas",
    "RLC deposited",
)
"""Every line of a check, as it is shown: the first that fails decides the exit code."""


@dataclass(slots=True)
class Checkup:
    """One look at a worker's surroundings, and what of it a start can use."""

    config: WorkerConfig
    stack: AsyncExitStack
    """Keeps open what was opened."""
    verdicts: list[Verdict] = field(default_factory=list[Verdict])
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    """How long opening the wallet and running a container took."""
    executor: Executor | None = None
    wallet: Wallet | None = None
    pool: PublicConfig | None = None
    chain: ChainConfig | None = None
    _address: Address | None = None
    """Whose wallet it is, which a keystore tells without its password."""
    _hub: Hub | None = None
    _opened: anyio.Event = field(default_factory=anyio.Event)
    _introduced: anyio.Event = field(default_factory=anyio.Event)
    _connected: anyio.Event = field(default_factory=anyio.Event)

    async def run(self) -> list[Verdict]:
        """All verdicts, in their order."""
        async with anyio.create_task_group() as tasks:
            for look_at in (self._wallet, self._scheduler, self._chain, self._money):
                tasks.start_soon(look_at)
            tasks.start_soon(self._runtime)
            await self._machine()
        return sorted(self.verdicts, key=lambda each: ORDER.index(each.check))

    def _say(self, *found: Verdict) -> None:
        self.verdicts.extend(found)

    def _cannot_say(self, why: str, *checks: str) -> None:
        self._say(*(unknown(check, why) for check in checks))

    async def _machine(self) -> None:
        config = self.config
        seen = await to_thread.run_sync(look, config.home)
        each = config.max_data + config.max_result
        self._say(
            *preflight.of_machine(seen, config.slots, config.single_cpu),
            preflight.of_memory(seen.memory, config.slots, config.max_memory),
            preflight.of_disk(seen.free_disk, config.slots, each),
            preflight.of_enclaves(await to_thread.run_sync(look_for_enclaves)),
        )

    async def _runtime(self) -> None:
        with self._timed("container probe"):
            try:
                executor = await open_executor(self.config, self.stack)
            except (RuntimeUnfit, Unavailable, OSError) as trouble:
                inside = in_container()
                self._say(preflight.of_no_runtime(str(trouble), in_docker=inside))
                self._cannot_say("There is no runtime.", "shared folders")
                return
            self.executor, folder = executor, self.config.home.absolute()
            name = f"{self.config.name}-check-{os.getpid()}"
            seen = await run_marker(executor, folder, name)
        shared = not seen.not_shared
        self._say(
            preflight.of_runtime(executor.name, executor.limits_not_enforced()),
            preflight.of_sharing(seen.trouble, shared=shared, folder=str(folder)),
            preflight.of_safety(executor.name),
            preflight.of_network(" ".join(networks.sentences(self.config, executor))),
        )

    async def _wallet(self) -> None:
        path = self.config.wallet
        try:
            told = (await to_thread.run_sync(keystore.read, path)).get("address")
            self._address = _address(told)
            self._say(verdicts.of_wallet(path, self._address))
            self._say(verdicts.of_mode(path, path.stat().st_mode))
            await self._unlock()
        except (BadKeystore, OSError) as trouble:
            self._say(verdicts.of_no_wallet(str(trouble)))
            self._cannot_say("There is no wallet to open.", "wallet password")
        finally:
            self._opened.set()

    async def _unlock(self) -> None:
        with self._timed("unlock"):
            try:
                password = self.config.unlock_with()
                self.wallet = await to_thread.run_sync(
                    Wallet.load, self.config.wallet, password
                )
            except (WrongPassword, BadSettings, BadKeystore) as trouble:
                self._say(verdicts.of_locked(str(trouble)))
                return
        self._address = self.wallet.address
        self._say(verdicts.of_unlocked(self.wallet.address))

    async def _scheduler(self) -> None:
        # Told who we are only once the wallet is open: nothing of ours is needed before.
        url = self.config.scheduler_url
        lines = ("workerpool", "version", "clock", "login")
        async with no_client(url, self.config.ca_file) as client:
            told = await self._answer(self._introduction(client))
            if isinstance(told, str):
                self._say(verdicts.of_silence(url, told))
                self._cannot_say("The scheduler does not answer.", *lines)
        self._introduced.set()
        if not isinstance(told, str):
            await self._login()

    async def _introduction(self, client: SchedulerClient) -> None:
        version = await client.version()
        self.pool = await client.config()
        self._say(
            verdicts.of_scheduler(client.url, version),
            verdicts.of_clock(ahead(client.told_time)),
            verdicts.of_pool(self.pool.worker_pool_address, self.config.pool),
            verdicts.of_version(self.pool.required_worker_version),
        )
        self.chain = await client.chain_config(self.pool.config_server_url)

    async def _login(self) -> None:
        await self._opened.wait()
        if self.wallet is None:
            self._cannot_say("The wallet is not open.", "login")
            return
        me, sign = self.wallet.address, self.wallet.sign_hash
        url, ca = self.config.scheduler_url, self.config.ca_file
        async with SchedulerClient(url, wallet=me, sign=sign, ca=ca) as client:
            try:
                told = await self._answer(client.login())
            except Unwelcome as refusal:
                self._say(verdicts.of_refusal(me, str(refusal)))
                return
        if isinstance(told, str):
            self._cannot_say(told, "login")
        else:
            self._say(verdicts.of_welcome(me))

    async def _answer(self, question: Awaitable[None]) -> str | None:
        """What is wrong with who should answer; None when it did in time. Raises Unwelcome."""
        try:
            with anyio.fail_after(PATIENCE):
                await question
        except TimeoutError:
            return f"No answer within {PATIENCE:g} s."
        except Unwelcome:
            raise
        except (Unavailable, Refused) as trouble:
            return str(trouble)
        return None

    async def _chain(self) -> None:
        try:
            await self._introduced.wait()
            urls = self.config.rpc_urls
            if not urls and self.chain is not None:
                urls = (self.chain.chain_node_url,)
            if not urls:
                why = "The scheduler was to name the node, and rpc_urls is not set."
                self._cannot_say(why, "chain", "hub", "node in sync")
                return
            rpc = await self.stack.enter_async_context(Rpc(urls, ca=self.config.ca_file))
            told = await self._answer(self._node(rpc))
            if told is not None:
                self._say(verdicts.of_no_node(told))
                self._cannot_say("No node answers.", "hub", "node in sync")
        finally:
            self._connected.set()

    async def _node(self, rpc: Rpc) -> None:
        chain_id, block, syncing = await rpc.batch(
            [
                ("eth_chainId", ()),
                ("eth_getBlockByNumber", ("latest", False)),
                ("eth_syncing", ()),
            ]
        )
        for answer in (chain_id, block):
            if isinstance(answer, RpcError):
                raise answer
        found, head = quantity(chain_id), read_head(block)
        await self._confirmed(rpc, found)
        self._say(
            verdicts.of_node(rpc.urls, found),
            verdicts.of_head(
                head.number, time.time() - head.timestamp, syncing=isinstance(syncing, dict)
            ),
        )

    async def _confirmed(self, rpc: Rpc, chain_id: int) -> None:
        """Keep the hub that the pool names, or else the settings, when it may be trusted."""
        config, chain = self.config, self.chain
        named = chain.iexec_hub_contract_address if chain else config.hub
        if named is None:
            self._cannot_say("The scheduler was to name it, and hub is not set.", "hub")
            return
        said = chain.chain_id if chain else config.chain_id or chain_id
        try:
            confirm(named, said, meant(config))
            hub = await Hub.open(rpc, named)
            await confirm_answers(hub, said, meant(config))
        except UnconfirmedHub as doubt:
            self._say(verdicts.of_wrong_chain(str(doubt)))
            return
        except Refused as absence:
            self._say(verdicts.of_wrong_chain(str(absence)))
            return
        known = deployment_of(named)
        self._hub = hub
        self._say(verdicts.of_hub(named, known.name if known else None))

    async def _money(self) -> None:
        await self._connected.wait()
        await self._opened.wait()
        lines = ("ETH for gas", "RLC deposited")
        if self._hub is None or self._address is None:
            missing = "wallet" if self._address is None else "chain"
            self._cannot_say(f"The {missing} is not known.", *lines)
            return
        told = await self._answer(self._balances(self._hub, self._address))
        if told is not None:
            said = {each.check for each in self.verdicts}
            self._cannot_say(told, *(line for line in lines if line not in said))

    async def _balances(self, hub: Hub, me: Address) -> None:
        held = await purse(hub, me)
        self._say(
            verdicts.of_gas(
                me,
                held.balance,
                network=held.gas_price,
                fees=fees_of(self.config),
                free=self.chain is not None and self.chain.sidechain,
            )
        )
        pool = self.pool.worker_pool_address if self.pool else self.config.pool
        if held.account is None or pool is None:
            self._cannot_say("The node or the pool does not tell.", "RLC deposited")
            return
        terms, deal = await hub.workerpool(pool), await latest_deal(hub, pool)
        self._say(
            verdicts.of_deposit(
                purse=await hub.rlc_balance(me),
                free=held.account.stake,
                locked=held.account.locked,
                stake=None if deal is None else deal.worker_stake,
                ratio=terms.stake_ratio,
                native=hub.token == ZERO_ADDRESS,
            )
        )

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[what] = time.monotonic() - began


def no_client(url: str, ca: Path | None = None) -> SchedulerClient:
    """A connection of somebody who cannot log in: for what a scheduler tells everybody."""
    return SchedulerClient(url, wallet=ZERO_ADDRESS, sign=_no_signature, ca=ca)


def ahead(date: str) -> float | None:
    """Seconds that our clock is ahead of what an HTTP `Date` says, which is cut to seconds."""
    try:
        theirs = parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        return None
    return time.time() - theirs - 0.5


def _no_signature(_: bytes) -> bytes:
    raise Unwelcome("Nobody has logged in.")


def _address(told: object) -> Address | None:
    try:
        return Address(told) if isinstance(told, str) else None
    except ValueError:
        return None
