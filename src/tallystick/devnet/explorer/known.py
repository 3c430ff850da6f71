"""Who is who on the local chain, and where the chain is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tallystick.poco.values import ZERO_ADDRESS, Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What an explorer is told by those who founded the market."""

    chain_id: int
    rpc_url: str
    ws_url: str
    hub: Address
    roles: Mapping[str, Address]
    """Accounts with a wallet, by role."""
    contracts: Mapping[str, Address]
    """By name."""
    package: Path
    """The npm package of the contracts."""
    names: Mapping[str, str] = field(init=False, repr=False)
    """What to call an address, by its text."""

    def __post_init__(self) -> None:
        both = {**self.roles, **self.contracts, "nobody": ZERO_ADDRESS}
        object.__setattr__(self, "names", {str(at): name for name, at in both.items()})

    def name(self, address: object) -> str:
        """What an address is called; empty when it has no name."""
        return self.names.get(str(address).lower(), "")

    def find(self, word: str) -> Address | None:
        """The address of this name."""
        return {**self.contracts, **self.roles}.get(word)
