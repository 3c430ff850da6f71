"""What a wallet's transactions wait for: a block, a cheaper chain, or money."""

from __future__ import annotations

from dataclasses import dataclass

from tallystick.engine.errors import Refused
from tallystick.poco.values import Wei


class OutOfGas(Refused):
    """The wallet cannot pay for gas."""

    def __init__(self, sentence: str, *, need: Wei | None = None) -> None:
        """`need`: what the wallet must have for the call, where that is known."""
        super().__init__(sentence)
        self.need = need


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A transaction that is signed and not mined."""

    what: str
    nonce: int
    since: float
    """Seconds since the epoch at which it was signed."""
    price: Wei
    """The most it offers for a unit of gas."""
    cap: Wei
    """The most it may ever offer."""
    capped: bool
    """Whether it waits because the chain asks for more than its cap."""
