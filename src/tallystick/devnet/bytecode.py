"""The compiled contracts inside the npm package @iexec/poco."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_hash.auto import keccak

from tallystick.poco.values import Address

_RECEIVE, _FALLBACK = bytes(4), b"\xff" * 4
"""The diamond routes plain transfers and unknown calls by these two made-up selectors."""

_FOLDERS = {
    "Diamond": "contracts/Diamond.sol",
    "IexecLibOrders_v5": "contracts/libs/IexecLibOrders_v5.sol",
    "AppRegistry": "contracts/registries/apps/AppRegistry.sol",
    "DatasetRegistry": "contracts/registries/datasets/DatasetRegistry.sol",
    "WorkerpoolRegistry": "contracts/registries/workerpools/WorkerpoolRegistry.sol",
}
_ONLY_LIVE = ("DiamondInit", "DiamondCutFacet", "DiamondLoupeFacet", "OwnershipFacet", "RLC")
"""Contracts of other projects, which the package holds only as deployed on Arbitrum."""


@dataclass(frozen=True, slots=True)
class Facet:
    """Init code, and the functions that the diamond shall route to it."""

    code: bytes
    selectors: tuple[bytes, ...]


def init_code(package: Path, name: str, *, library: Address | None = None) -> bytes:
    """The code that creates the contract, linked against IexecLibOrders_v5 at `library`."""
    return _linked(_artifact(package, name), library)


def facet(package: Path, name: str, known: set[bytes], *, library: Address) -> Facet:
    """The facet with all its functions that are not in `known`; they are then added to it."""
    artifact = _artifact(package, name)
    fresh = tuple(chosen for chosen in _selectors(artifact["abi"]) if chosen not in known)
    known.update(fresh)
    return Facet(_linked(artifact, library), fresh)


def _artifact(package: Path, name: str) -> Mapping[str, Any]:
    folder = _FOLDERS.get(name, f"contracts/facets/{name}.sol")
    if name in _ONLY_LIVE:
        path = package / "deployments" / "arbitrum" / f"{name}.json"
    else:
        path = package / "artifacts" / folder / f"{name}.json"
    artifact: Mapping[str, Any] = json.loads(path.read_text())
    return artifact


def _linked(artifact: Mapping[str, Any], library: Address | None) -> bytes:
    code: str = artifact["bytecode"].removeprefix("0x")
    for libraries in artifact.get("linkReferences", {}).values():
        for places in libraries.values():
            for place in places:
                start = 2 * place["start"]
                address = (library or Address(bytes(20))).hex()
                code = code[:start] + address + code[start + len(address) :]
    return bytes.fromhex(code)


def _selectors(abi: list[Mapping[str, Any]]) -> list[bytes]:
    found = []
    for entry in abi:
        match entry["type"]:
            case "function":
                found.append(keccak(_signature(entry).encode())[:4])
            case "receive":
                found.append(_RECEIVE)
            case "fallback":
                found.append(_FALLBACK)
            case _:
                pass
    return found


def _signature(function: Mapping[str, Any]) -> str:
    return f"{function['name']}({','.join(_type(one) for one in function['inputs'])})"


def _type(parameter: Mapping[str, Any]) -> str:
    kind: str = parameter["type"]
    if not kind.startswith("tuple"):
        return kind
    inner = ",".join(_type(one) for one in parameter["components"])
    return f"({inner}){kind.removeprefix('tuple')}"
