"""The hubs that are known, and whether the one that somebody names may be given money.

A pool tells a worker which hub it works with. A hub is only code at an address: one that was
made for it could keep what is deposited. So a hub counts as confirmed when it is the one of a
known network, or when the operator names it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from tallystick.chain.abi import quantity
from tallystick.chain.rpc import Rpc
from tallystick.engine.errors import Refused
from tallystick.poco.values import ZERO_ADDRESS, Address


@dataclass(frozen=True, slots=True)
class Deployment:
    """A public deployment of PoCo."""

    name: str
    chain_id: int
    hub: Address
    rlc: Address
    """Zero where RLC is the chain's own coin."""


DEPLOYMENTS: Final = (
    Deployment(
        "Arbitrum One",
        42161,
        Address("0x098bfcb1e50ebca0baa92c12ea0c3f045a1ad9f0"),
        Address("0xe649e6a1f2afc63ca268c2363691cecaf75cf47c"),
    ),
    Deployment(
        "Arbitrum Sepolia",
        421614,
        Address("0xb2157bf2fab286b2a4170e3491ac39770111da3e"),
        Address("0x9923ed3cbd90cd78b910c475f9a731a6e0b8c963"),
    ),
    Deployment(
        "Bellecour",
        134,
        Address("0x3eca1b216a7df1c7689aeb259ffb83adfb894e7f"),
        ZERO_ADDRESS,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Meant:
    """What the operator says of the hub and its chain; None leaves it to what is known."""

    hub: Address | None = None
    chain_id: int | None = None
    trust_hub: Address | None = None
    """A hub of no known network that the operator vouches for."""
    rlc: Address | None = None
    """The RLC contract that a hub of no known network must work with."""


class Asked(Protocol):
    """A hub that can be asked what it is."""

    rpc: Rpc
    address: Address

    @property
    def token(self) -> Address:
        """The RLC contract that it works with."""
        ...


class UnconfirmedHub(Refused):
    """Nobody whom we trust has named this hub: it gets neither work nor money."""

    exit_code = 2


def deployment_of(hub: Address) -> Deployment | None:
    """The known network that `hub` belongs to."""
    return next((each for each in DEPLOYMENTS if each.hub == hub), None)


def confirm(named: Address, chain_id: int, meant: Meant) -> None:
    """Whether `named`, said to be on chain `chain_id`, is the hub that is `meant`.

    Raises UnconfirmedHub.
    """
    if meant.hub not in (None, named):
        raise UnconfirmedHub(f"The pool works with hub {named}, the settings name {meant.hub}.")
    if meant.chain_id not in (None, chain_id):
        raise UnconfirmedHub(
            f"The pool works on chain {chain_id}, the settings name chain {meant.chain_id}."
        )
    known = deployment_of(named)
    if known is not None and known.chain_id != chain_id:
        raise UnconfirmedHub(
            f"The hub {named} is that of {known.name} (chain {known.chain_id}), "
            f"but is said to be on chain {chain_id}: do not trust who says so."
        )
    if known is None and named not in (meant.hub, meant.trust_hub):
        raise UnconfirmedHub(
            f"The hub {named} on chain {chain_id} is of no known network, so it might keep "
            f"what is deposited there: if you trust it, say so with --trust-hub {named}."
        )


async def confirm_answers(hub: Asked, chain_id: int, meant: Meant) -> None:
    """Whether the node and the hub themselves say what was said of them.

    Raises UnconfirmedHub, and Unavailable when no node answers.
    """
    found = quantity(await hub.rpc.call("eth_chainId"))
    if found != chain_id:
        raise UnconfirmedHub(
            f"The node serves chain {found}, not chain {chain_id}: check its address."
        )
    known = deployment_of(hub.address)
    rlc = meant.rlc if known is None else known.rlc
    if rlc not in (None, hub.token):
        raise UnconfirmedHub(
            f"The hub {hub.address} works with the token {hub.token}, not with RLC at {rlc}: "
            "what answers is not the hub that was meant."
        )
