"""Who takes part in a local market, and what the deployer gives and creates for them.

Everything here is done by DEPLOYER's borrowed account, so that no wallet's nonce is touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from eth_hash.auto import keccak

from tallystick.devnet.console import Console
from tallystick.devnet.deploy import DEPLOYER, Contracts
from tallystick.devnet.script import Script, calldata
from tallystick.poco.signing import address_of
from tallystick.poco.values import Address, Hash

ETHER = 10**18
"""Wei."""
RLC = 10**9
"""nRLC."""


@dataclass(frozen=True, slots=True)
class Actor:
    """An account with its key, for chains without any value."""

    role: str
    key: bytes = field(repr=False)
    address: Address

    @classmethod
    def named(cls, role: str) -> Self:
        """Always the same account for the same role: everybody can know its key."""
        key = keccak(f"tallystick devnet {role}".encode())
        return cls(role, key, address_of(key))


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What an account shall be given: wei for gas, nRLC in its hands, nRLC inside the hub."""

    to: Address
    wei: int = 0
    rlc: int = 0
    deposit: int = 0


def endow(console: Console, places: Contracts, grants: Sequence[Grant]) -> None:
    """Pays out every grant on top of what the accounts have. Raises StepFailed."""
    script = _script(console)
    for grant in grants:
        if grant.wei:
            script.pay(grant.to, grant.wei)
        if grant.rlc:
            script.call(places.rlc, "transfer(address,uint256)", grant.to, grant.rlc)
    deposits = [grant for grant in grants if grant.deposit]
    if deposits:
        amounts = [grant.deposit for grant in deposits]
        script.call(places.rlc, "approve(address,uint256)", places.hub, sum(amounts))
        script.call(
            places.hub,
            "depositForArray(uint256[],address[])",
            amounts,
            [grant.to for grant in deposits],
        )
    script.send(console)


def hand_over(console: Console, places: Contracts, owner: Address) -> None:
    """Makes `owner` the owner of the hub and of the three registries."""
    script = _script(console)
    for contract in (
        places.hub,
        places.app_registry,
        places.dataset_registry,
        places.workerpool_registry,
    ):
        script.call(contract, "transferOwnership(address)", owner)
    script.send(console)


def create_workerpool(
    console: Console, places: Contracts, *, owner: Address, description: str
) -> Address:
    """The workerpool of `owner`, the scheduler, with this description."""
    values = ("(address,string)", owner, description)
    return _registered(console, places.workerpool_registry, "Workerpool", *values)


def register_app(
    console: Console,
    places: Contracts,
    *,
    owner: Address,
    name: str,
    image: str,
    digest: Hash,
) -> Address:
    """The app of `owner`: the container image `image`, whose manifest has this SHA-256."""
    types = "(address,string,string,bytes,bytes32,bytes)"
    values = (types, owner, name, "DOCKER", image.encode(), digest, b"")
    return _registered(console, places.app_registry, "App", *values)


def register_dataset(
    console: Console,
    places: Contracts,
    *,
    owner: Address,
    name: str,
    multiaddr: bytes,
    checksum: Hash,
) -> Address:
    """The dataset of `owner`; `checksum` is the SHA-256 of its bytes."""
    values = ("(address,string,bytes,bytes32)", owner, name, multiaddr, checksum)
    return _registered(console, places.dataset_registry, "Dataset", *values)


def _registered(
    console: Console, registry: Address, kind: str, types: str, *values: object
) -> Address:
    """The asset; it is created when there is none yet that is the same in everything."""
    question = {"to": str(registry), "data": _hex(calldata(f"predict{kind}{types}", *values))}
    place = Address(console.call("eth_call", question, "latest")[-40:])
    if console.call("eth_getCode", str(place), "latest") == "0x":
        script = _script(console)
        script.call(registry, f"create{kind}{types}", *values)
        script.send(console)
    return place


def _hex(data: bytes) -> str:
    return f"0x{data.hex()}"


def _script(console: Console) -> Script:
    sent = console.call("eth_getTransactionCount", str(DEPLOYER), "latest")
    return Script(DEPLOYER, nonce=int(sent, 16))
