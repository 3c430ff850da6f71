"""Who pays, who is paid, and what reputation they keep. All amounts in nRLC.

Division rounds down everywhere, as in the contracts; what rounding leaves of a pot goes to
the scheduler.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tallystick.poco.values import Address, Nrlc

SCHEDULER_STAKE_RATIO: Final = 30
"""Percent of the workerpool's price that its owner locks for every task it sells."""

KITTY: Final = Address("0x99c2268479b93fde36232351229815df80837e23")
"""The account that keeps the stakes of schedulers who broke their word."""
KITTY_RATIO: Final = 10
"""Percent of the kitty that the next scheduler to succeed is given."""
KITTY_MIN: Final[Nrlc] = 10**9
"""It is given at least this much, or all there is."""


def scheduler_stake(price: Nrlc) -> Nrlc:
    """What the workerpool's owner locks for one task of this price."""
    return price * SCHEDULER_STAKE_RATIO // 100


def worker_stake(price: Nrlc, ratio: int) -> Nrlc:
    """What one contribution locks; `ratio` is the workerpool's policy in percent."""
    return price * ratio // 100


def share(weight: int) -> int:
    """A winner's part in the pot, in parts: the binary logarithm of its voting weight."""
    return weight.bit_length() - 1


def kitty_part(kitty: Nrlc) -> Nrlc:
    """What a success takes out of the kitty."""
    return min(max(kitty * KITTY_RATIO // 100, KITTY_MIN), kitty)


@dataclass(frozen=True, slots=True)
class Payout:
    """How the pot of one finished task is divided."""

    workers: Mapping[Address, Nrlc]
    scheduler: Nrlc


def payout(
    price: Nrlc, *, shares: Mapping[Address, int], lost_stakes: Nrlc, scheduler_ratio: int
) -> Payout:
    """Divide the workerpool's price and the stakes that losers left in the pot.

    `shares` has the winners alone; `scheduler_ratio` is the scheduler's percentage.
    """
    pot = price + lost_stakes
    for_workers = pot * (100 - scheduler_ratio) // 100
    parts = sum(shares.values())
    workers = {worker: for_workers * part // parts for worker, part in shares.items()}
    return Payout(workers, pot - sum(workers.values()))


def solo_payout(price: Nrlc, worker: Address, *, scheduler_ratio: int) -> Payout:
    """The same for a single worker that contributed and finalized at once."""
    reward = price * (100 - scheduler_ratio) // 100
    return Payout({worker: reward}, price - reward)


def score_after_success(score: int, *, contributors: int) -> int:
    """Agreeing with oneself proves nothing: only a replicated task raises the score."""
    return score + 1 if contributors > 1 else score


def score_after_fault(score: int) -> int:
    """A wrong result, or one that was never revealed, costs a third of the score."""
    return score * 2 // 3
