"""What tests share: the real node, and the real contracts on it."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tallystick.devnet.actors import (
    ETHER,
    RLC,
    Actor,
    Grant,
    create_workerpool,
    endow,
    hand_over,
    register_app,
)
from tallystick.devnet.anvil import CHAIN_ID, Anvil, AnvilOptions
from tallystick.devnet.console import Console
from tallystick.devnet.deploy import Contracts, deploy
from tallystick.devnet.node import NpmMissing
from tallystick.devnet.packages import PackagesMissing, PocoPackages, packages
from tallystick.devnet.script import Receipt, Script, calldata
from tallystick.poco.values import Address, Hash

# The same examples in every run: what fails in CI fails here. TALLY_SEARCH=1: new ones.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None)
settings.load_profile("search" if "TALLY_SEARCH" in os.environ else "same")

WORKERS = 6
NOWHERE = Address(bytes(20))


@dataclass(slots=True)
class Chain:
    """A development chain with PoCo and funded accounts. Mines every transaction at once.

    Every actor has 1,000 ETH, 10,000 RLC and 10,000 RLC more inside the hub.
    """

    node: Anvil
    contracts: Contracts
    owner: Actor = field(default_factory=lambda: Actor.named("owner"))
    scheduler: Actor = field(default_factory=lambda: Actor.named("scheduler"))
    requester: Actor = field(default_factory=lambda: Actor.named("requester"))
    app_owner: Actor = field(default_factory=lambda: Actor.named("app owner"))
    workers: tuple[Actor, ...] = tuple(Actor.named(f"worker {n}") for n in range(WORKERS))
    chain_id: int = CHAIN_ID
    workerpool: Address = NOWHERE
    """Owned by the scheduler."""
    app: Address = NOWHERE
    """Owned by the app owner; its image does not exist."""

    @property
    def url(self) -> str:
        return self.node.url

    @property
    def ws_url(self) -> str:
        return self.node.ws_url

    @property
    def console(self) -> Console:
        return self.node.console

    @property
    def hub(self) -> Address:
        return self.contracts.hub

    @property
    def rlc(self) -> Address:
        return self.contracts.rlc

    @property
    def app_registry(self) -> Address:
        return self.contracts.app_registry

    @property
    def dataset_registry(self) -> Address:
        return self.contracts.dataset_registry

    @property
    def workerpool_registry(self) -> Address:
        return self.contracts.workerpool_registry

    @property
    def actors(self) -> tuple[Actor, ...]:
        return (self.owner, self.scheduler, self.requester, self.app_owner, *self.workers)

    @property
    def now(self) -> int:
        """The time of the latest block."""
        block = self.console.call("eth_getBlockByNumber", "latest", False)
        return int(block["timestamp"], 16)

    def rpc(self, method: str, *params: Any) -> Any:
        return self.console.call(method, *params)

    def mine(self, blocks: int = 1) -> None:
        self.console.call("anvil_mine", hex(blocks))

    def set_time(self, instant: int) -> None:
        """Mines a block with this time."""
        self.console.call("evm_setNextBlockTimestamp", instant)
        self.mine()

    def automine(self, on: bool) -> None:
        self.console.call("evm_setAutomine", on)

    def snapshot(self) -> str:
        return str(self.console.call("evm_snapshot"))

    def revert(self, snapshot: str) -> None:
        assert self.console.call("evm_revert", snapshot)

    def transact(self, sender: Address, to: Address, data: bytes) -> Receipt:
        """A transaction of any account, mined, whether it succeeds or not. Needs no key."""
        me = str(sender)
        self.console.call("anvil_impersonateAccount", me)
        step = {"from": me, "to": str(to), "data": "0x" + data.hex(), "gas": hex(3_000_000)}
        receipt: Receipt = self.console.call("eth_sendTransactionSync", step)
        self.console.call("anvil_stopImpersonatingAccount", me)
        return receipt

    def fund(self, to: Address, *, wei: int = 0, rlc: int = 0, deposit: int = 0) -> None:
        """Gives more to an account: wei, nRLC in its hands, nRLC inside the hub."""
        endow(self.console, self.contracts, [Grant(to=to, wei=wei, rlc=rlc, deposit=deposit)])


def furnished(node: Anvil, package: Path) -> Chain:
    """The empty chain of `node`, made ready."""
    chain = Chain(node, deploy(node.console, package, chain_id=CHAIN_ID))
    amounts = {"wei": 1_000 * ETHER, "rlc": 10_000 * RLC, "deposit": 10_000 * RLC}
    grants = [Grant(to=actor.address, **amounts) for actor in chain.actors]
    endow(node.console, chain.contracts, grants)
    hand_over(node.console, chain.contracts, chain.owner.address)
    chain.workerpool = create_workerpool(
        node.console, chain.contracts, owner=chain.scheduler.address, description="test pool"
    )
    chain.app = register_app(
        node.console,
        chain.contracts,
        owner=chain.app_owner.address,
        name="test app",
        image="127.0.0.1:5000/test/app:1",
        digest=Hash(b"\x11" * 32),
    )
    return chain


_RECURSION_LIMIT = sys.getrecursionlimit()


def pytest_runtest_setup() -> None:
    """eth-account, which only tests load, brings a library that raises this limit to where
    hostile JSON overflows the stack of the interpreter itself."""
    sys.setrecursionlimit(_RECURSION_LIMIT)


@pytest.fixture(autouse=True, scope="module")
def _leftovers_end_here() -> Iterator[None]:
    """What a module's tests left unclosed is collected where it was opened: a database that
    another test's server thread happens to collect is an error in that thread."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def poco_packages() -> PocoPackages:
    """The npm packages of the node and of the contracts, installed when needed."""
    try:
        return packages()
    except (NpmMissing, PackagesMissing) as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def anvil_binary(poco_packages: PocoPackages) -> Path:
    return poco_packages.anvil


@pytest.fixture(scope="module")
def shared_chain(
    poco_packages: PocoPackages, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Chain]:
    """One chain for all tests of a module. What a test does to it stays."""
    options = AnvilOptions(binary=poco_packages.anvil, folder=tmp_path_factory.mktemp("anvil"))
    with Anvil(options) as node:
        yield furnished(node, poco_packages.poco)


@pytest.fixture
def chain(poco_packages: PocoPackages, tmp_path: Path) -> Iterator[Chain]:
    """A chain of the test's own."""
    options = AnvilOptions(binary=poco_packages.anvil, folder=tmp_path / "anvil")
    with Anvil(options) as node:
        yield furnished(node, poco_packages.poco)


__all__ = ["Chain", "Script", "calldata", "furnished"]
