"""What a transaction offers for gas, at first and when nobody took it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tallystick.chain.envelope import Price
from tallystick.poco.values import Wei

GWEI: Final = 10**9


RICH: Final = 10
"""Transactions that a balance must be good for, or the operator is warned."""

CONTRIBUTE_GAS: Final = 500_000
REVEAL_GAS: Final = 100_000
FINISH_GAS: Final = 700_000
"""What the calls of a worker take at most: the limits that workers have always used. The
last is for contributing and finalizing at once."""
CALLBACK_GAS: Final = 200_000
"""What a requester's contract may take when it is told a result. An estimate that found it
cheap may be wrong by that much."""
DECIDING_GAS: Final = 120_000
"""What a vote takes more, besides the usual margin, when it decides: it counts all the others.
An estimate cannot know that where the others are not mined yet."""

_MILLION: Final = 10**6


@dataclass(frozen=True, slots=True)
class Network:
    """What the chain asks for gas at the moment."""

    price: Wei | None
    """`eth_gasPrice`: what a transaction that is mined soon would pay; None when no node
    tells it."""
    tip: Wei
    """`eth_maxPriorityFeePerGas`."""
    base: Wei | None
    """Base fee of the latest block; None on chains that know only legacy transactions."""


@dataclass(frozen=True, slots=True)
class Fees:
    """An operator's policy: min(network price x multiplier, cap)."""

    multiplier: float = 1.3
    """Its first six decimal places count: prices are integers, and so is what leads to them."""
    cap: Wei = 22 * GWEI
    legacy: bool = False
    """Type 0 with one `gasPrice`; done by itself where blocks have no base fee."""

    def price(self, network: Wei | None, cap: Wei | None = None) -> Wei:
        """The most that is offered for a unit of gas: the cap where the network's price is
        unknown. Zero, the network's or the cap's, means gas that is free."""
        most = self.cap if cap is None else cap
        if network is None:
            return most
        return min(network * round(self.multiplier * _MILLION) // _MILLION, most)

    def first(self, network: Network, cap: Wei) -> Price:
        """What to offer at first."""
        most = self.price(network.price, cap)
        if self.legacy or network.base is None:
            return Price(most, None)
        return Price(most, min(network.tip, most))

    def more(self, old: Price, network: Network, cap: Wei) -> Price | None:
        """What nodes take instead of `old`: every part at least an eighth higher.

        None when that is above the cap: then `old` has to wait.
        """
        fresh = self.first(network, cap)
        most = min(max(fresh.most, _raised(old.most)), cap)
        if most < _raised(old.most):
            return None
        if old.tip is None:
            return Price(most, None)
        tip = max(fresh.tip or 0, _raised(old.tip))
        return Price(most, tip) if tip <= most else None


@dataclass(frozen=True, slots=True)
class Tank:
    """How far a balance goes at the price that would be paid now."""

    balance: Wei
    price: Wei
    """For a unit of gas."""
    gas: int = CONTRIBUTE_GAS
    """Of one transaction."""

    @property
    def transactions(self) -> int | None:
        """How many the balance pays for; None where gas is free."""
        return self.balance // (self.price * self.gas) if self.price else None

    @property
    def empty(self) -> bool:
        """Whether not even one transaction can be paid for."""
        return self.transactions == 0

    def covers(self, gas: int) -> bool:
        """Whether so much gas can be paid for."""
        return self.balance >= gas * self.price

    @property
    def low(self) -> bool:
        """Enough for now, but the operator should know."""
        return self.transactions is not None and 0 < self.transactions < RICH


def _raised(amount: Wei) -> Wei:
    """12.5 % more, rounded up, and more in any case."""
    return max(-(-amount * 9 // 8), amount + 1)
