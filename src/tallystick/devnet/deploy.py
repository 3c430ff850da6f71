"""Puts the real PoCo contracts on an empty development chain, in token mode.

The order of steps is that of iExec's own deployment script; the plain CREATE of one account
stands for its factory, so every address is known beforehand and nothing waits for an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tallystick.chain.abi import encode
from tallystick.devnet.bytecode import facet, init_code
from tallystick.devnet.console import Console
from tallystick.devnet.script import Script, calldata
from tallystick.poco.values import Address

DEPLOYER = Address("0x7a11dec0de7a11dec0de7a11dec0de7a11dec0de")
"""Creates everything and owns it at first. Nobody has its key: the node lends the account."""

CATEGORIES = (
    ("XS", 300),
    ("S", 1_200),
    ("M", 3_600),
    ("L", 10_800),
    ("XL", 36_000),
    ("DEV", 60),
    ("TINY", 2),
)
"""Names and time units in seconds, by id: as on mainnet, then two of local chains only, the
last for those who wait for deadlines (20 seconds to the final one)."""

CALLBACK_GAS = 200_000
_NOBODY = Address(bytes(20))

_FIRST_FACETS = ("DiamondCutFacet", "DiamondLoupeFacet", "OwnershipFacet")
_FACETS = (
    "IexecAccessorsABILegacyFacet",
    "IexecCategoryManagerFacet",
    "IexecConfigurationExtraFacet",
    "IexecConfigurationFacet",
    "IexecERC20Facet",
    "IexecEscrowTokenFacet",
    "IexecOrderManagementFacet",
    "IexecPoco1Facet",
    "IexecPoco2Facet",
    "IexecPocoAccessorsFacet",
    "IexecRelayFacet",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contracts:
    """Where PoCo lives on a chain."""

    hub: Address
    rlc: Address
    app_registry: Address
    dataset_registry: Address
    workerpool_registry: Address


def deploy(console: Console, package: Path, *, chain_id: int) -> Contracts:
    """PoCo from the npm package in `package`, all of it owned by DEPLOYER.

    The node must mine every transaction at once, and its chain must not know DEPLOYER yet.
    Raises StepFailed.
    """
    script = Script(DEPLOYER)
    rlc = script.create(init_code(package, "RLC"))
    hub = _diamond(script, package)
    places = Contracts(
        hub=hub,
        rlc=rlc,
        app_registry=_registry(script, package, "App", chain_id),
        dataset_registry=_registry(script, package, "Dataset", chain_id),
        workerpool_registry=_registry(script, package, "Workerpool", chain_id),
    )
    _configure(script, places)
    script.send(console)
    return places


def _diamond(script: Script, package: Path) -> Address:
    known: set[bytes] = set()
    init = script.create(init_code(package, "DiamondInit"))
    cuts = [_cut(script, package, name, known) for name in _FIRST_FACETS]
    arguments = encode(
        ["(address,uint8,bytes4[])[]", "(address,address,bytes)"],
        [cuts, (DEPLOYER, init, calldata("init()"))],
    )
    hub = script.create(init_code(package, "Diamond") + arguments)
    library = script.create(init_code(package, "IexecLibOrders_v5"))
    for name in _FACETS:
        cut = _cut(script, package, name, known, library=library)
        script.call(
            hub, "diamondCut((address,uint8,bytes4[])[],address,bytes)", [cut], _NOBODY, b""
        )
    return hub


def _cut(
    script: Script, package: Path, name: str, known: set[bytes], *, library: Address = _NOBODY
) -> tuple[Address, int, Sequence[bytes]]:
    part = facet(package, name, known, library=library)
    return script.create(part.code), 0, part.selectors


def _registry(script: Script, package: Path, kind: str, chain_id: int) -> Address:
    registry = script.create(init_code(package, f"{kind}Registry"))
    script.call(registry, "initialize(address)", _NOBODY)
    where = f"https://nfts-metadata.iex.ec/{kind.lower()}/{chain_id}/"
    script.call(registry, "setBaseURI(string)", where)
    return registry


def _configure(script: Script, places: Contracts) -> None:
    script.call(
        places.hub,
        "configure(address,string,string,uint8,address,address,address,address)",
        places.rlc,
        "Staked RLC",
        "SRLC",
        9,
        places.app_registry,
        places.dataset_registry,
        places.workerpool_registry,
        _NOBODY,
    )
    for name, time_unit in CATEGORIES:
        # The official script describes categories by the two characters "".
        script.call(places.hub, "createCategory(string,string,uint256)", name, '""', time_unit)
    script.call(places.hub, "setCallbackGas(uint256)", CALLBACK_GAS)
