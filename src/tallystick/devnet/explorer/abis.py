"""The names of PoCo's functions, events and errors, and of their arguments.

They are read from the interfaces in the contracts' own package, so a page calls everything as
its authors did.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from tallystick.chain.abi import selector, topic

_ADDRESS: Final = {"type": "address"}
_FOREIGN: Final[tuple[Mapping[str, Any], ...]] = (
    {
        "type": "error",
        "name": "NotContractOwner",
        "inputs": [_ADDRESS | {"name": "user"}, _ADDRESS | {"name": "owner"}],
    },
)
"""Of the diamond that the hub is: a library's, which the package does not describe."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument: what it is called, and its type as signatures write it."""

    name: str
    kind: str
    indexed: bool = False
    parts: tuple[Parameter, ...] = ()
    """Of a structure, or of a list of them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A function, event or error."""

    name: str
    parameters: tuple[Parameter, ...]

    @property
    def signature(self) -> str:
        """`name(type,…)`."""
        return f"{self.name}({','.join(each.kind for each in self.parameters)})"

    @property
    def clarity(self) -> int:
        """How much it names: of two that are the same, the one that says more is kept."""
        return sum(bool(each.name) + each.name.islower() for each in self.parameters)


@dataclass(slots=True)
class Dictionary:
    """Everything that is known by name."""

    functions: dict[bytes, Entry] = field(default_factory=dict)
    """By selector."""
    events: dict[tuple[bytes, int], Entry] = field(default_factory=dict)
    """By first topic and the number of topics after it: tokens share one name for two forms."""
    errors: dict[bytes, Entry] = field(default_factory=dict)
    """By selector."""

    def __post_init__(self) -> None:
        for told in _FOREIGN:
            self._learn(told)

    @classmethod
    def of(cls, package: Path) -> Self:
        """What the npm package in `package` describes; files that are none are passed over."""
        made = cls()
        for path in sorted((package / "abis" / "contracts").rglob("*.json")):
            for told in _interface(path):
                made._learn(told)
        return made

    def _learn(self, told: Mapping[str, Any]) -> None:
        kind = told.get("type")
        if kind not in ("function", "event", "error"):
            return
        entry = Entry(str(told["name"]), tuple(map(_parameter, told.get("inputs", ()))))
        if kind == "event":
            indexed = sum(each.indexed for each in entry.parameters)
            _keep(self.events, (bytes(topic(entry.signature)), indexed), entry)
        else:
            known = self.functions if kind == "function" else self.errors
            _keep(known, selector(entry.signature), entry)


def _keep(known: dict[Any, Entry], key: Any, entry: Entry) -> None:
    if key not in known or known[key].clarity < entry.clarity:
        known[key] = entry


def _interface(path: Path) -> Iterator[Mapping[str, Any]]:
    found = json.loads(path.read_text())
    if isinstance(found, list):
        yield from (each for each in found if isinstance(each, dict))


def _parameter(told: Mapping[str, Any]) -> Parameter:
    parts = tuple(map(_parameter, told.get("components", ())))
    kind = str(told["type"])
    if parts:
        kind = f"({','.join(each.kind for each in parts)}){kind.removeprefix('tuple')}"
    name = str(told.get("name", "")).strip("_")
    return Parameter(name, kind, bool(told.get("indexed")), parts)
