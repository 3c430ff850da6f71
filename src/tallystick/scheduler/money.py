"""What a pool earns and risks: formulas of the contracts, told for the scheduler. Pure.

All amounts are whole nRLC or wei, rounded down as the contracts do. Sources: `poco.rewards`
(who is paid at `finalize`), the gas that each call was measured to take.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from tallystick.poco.contribution import Tally
from tallystick.poco.rewards import payout, scheduler_stake, worker_stake
from tallystick.poco.values import Address, Hash, Nrlc, Wei

INITIALIZE_GAS: Final = 222_300
"""`initialize` of one task."""
FINALIZE_GAS: Final = 297_400
"""`finalize` with one worker and a short link ..."""
WINNER_GAS: Final = 82_300
"""... and what each more of them takes: 462,000 with three."""
NEWCOMER: Final = 2
"""The voting weight of a worker without a score."""
_MOST_WINNERS: Final = 300
_CHOICE: Final = Hash(bytes(32))


def fewest_winners(trust: int) -> int:
    """How many workers without a score reach this trust when all agree; the most that a task
    needs as long as nobody lies."""
    tally = Tally()
    for count in range(1, _MOST_WINNERS):
        tally = tally.vote(_CHOICE, NEWCOMER)
        if tally.settles(_CHOICE, max(trust, 1)):
            return count
    return _MOST_WINNERS


def reward_of_scheduler(price: Nrlc, *, trust: int, ratio: int) -> Nrlc:
    """What stays with the scheduler of one task when all workers agree: its percentage, and
    what dividing the rest among the winners leaves."""
    shares = {Address(n.to_bytes(20, "big")): 1 for n in range(fewest_winners(trust))}
    return payout(price, shares=shares, lost_stakes=0, scheduler_ratio=ratio).scheduler


def gas_of_scheduler(trust: int) -> int:
    """Gas of the scheduler's calls for one task: initialize and finalize. A worker that
    contributes and finalizes at once (trust 1) spares it the second one."""
    return INITIALIZE_GAS + FINALIZE_GAS + WINNER_GAS * (fewest_winners(trust) - 1)


def cost(gas: Wei, eth_per_rlc: Decimal) -> Nrlc:
    """What this gas is worth in nRLC, rounded up."""
    return math.ceil(gas / (eth_per_rlc * 10**9))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What one task of an order brings the scheduler, at today's price of gas."""

    reward: Nrlc
    gas: int
    gas_price: Wei
    eth_per_rlc: Decimal | None

    @property
    def profit(self) -> Nrlc | None:
        """None while nobody says what an RLC is worth."""
        if self.eth_per_rlc is None:
            return None
        return self.reward - cost(self.gas * self.gas_price, self.eth_per_rlc)

    @property
    def loses(self) -> bool:
        """Whether it surely is worth less than its gas."""
        return self.profit is not None and self.profit < 0


def outlook(
    price: Nrlc, *, trust: int, ratio: int, gas_price: Wei, eth_per_rlc: Decimal | None
) -> Outlook:
    """Of an order at this price: judged at the highest trust that it offers, where most
    winners share and finalizing costs most."""
    return Outlook(
        reward=reward_of_scheduler(price, trust=trust, ratio=ratio),
        gas=gas_of_scheduler(trust),
        gas_price=gas_price,
        eth_per_rlc=eth_per_rlc,
    )


def stake_for(price: Nrlc, volume: int) -> Nrlc:
    """What the pool's owner has to have free so that a deal of `volume` tasks can be made."""
    return scheduler_stake(price) * volume


def tasks_covered(free: Nrlc, price: Nrlc) -> int | None:
    """How many tasks of this price can be sold with `free`; None when none locks anything."""
    each = scheduler_stake(price)
    return free // each if each else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """What a policy means for one task of one price, at trust 1, when nobody lies."""

    price: Nrlc
    worker_stake: Nrlc
    """Locked by each worker that votes; lost by one that votes wrong or does not reveal."""
    workers: Nrlc
    """Paid to the workers together."""
    scheduler: Nrlc
    scheduler_stake: Nrlc
    """Locked by the pool's owner; no policy changes it."""


def shares(price: Nrlc, *, stake_ratio: int, reward_ratio: int) -> Shares:
    """How a task of this price is divided under a policy (both ratios in percent)."""
    kept = reward_of_scheduler(price, trust=1, ratio=reward_ratio)
    return Shares(
        price=price,
        worker_stake=worker_stake(price, stake_ratio),
        workers=price - kept,
        scheduler=kept,
        scheduler_stake=scheduler_stake(price),
    )


def policy_mistake(stake_ratio: int, reward_ratio: int) -> str:
    """Why the workerpool would refuse these ratios, or why nobody wants them; empty if not."""
    if not 0 <= reward_ratio <= 100:
        return (
            "The scheduler's part is a percentage from 0 to 100; the contract takes no other."
        )
    if not 0 <= stake_ratio < 1 << 256:
        return "The workers' stake is a percentage of the price, 0 or more."
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskMoney:
    """What one task that ended has moved for the scheduler, by the chain's own account."""

    task: str
    deal: str
    completed: bool
    """Whether it was finalized; else it was claimed."""
    reward: Nrlc = 0
    seized: Nrlc = 0
    """Our stake that went to the kitty."""
    gas: Wei = 0
    """Paid by our wallet for its transactions, divided among the tasks that share one."""
    block_hash: str = ""
    """Where it ended: when a reorg takes this block away, the account is void."""
    paid: Mapping[str, Nrlc] | None = None
    """What each worker got, by address; None in accounts made before this was kept."""
    forfeited: Mapping[str, Nrlc] | None = None
    """What each worker lost of its stake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DealMoney:
    """Some tasks together: those of one deal, or of all."""

    tasks: int = 0
    """That have ended."""
    completed: int = 0
    reward: Nrlc = 0
    seized: Nrlc = 0
    gas: Wei = 0

    def profit(self, eth_per_rlc: Decimal | None) -> Nrlc | None:
        """Reward less lost stake less gas; None while nobody says what an RLC is worth."""
        if eth_per_rlc is None:
            return None
        return self.reward - self.seized - cost(self.gas, eth_per_rlc)


def total(tasks: Iterable[TaskMoney]) -> DealMoney:
    """The sum of what these tasks moved."""
    listed = list(tasks)
    return DealMoney(
        tasks=len(listed),
        completed=sum(each.completed for each in listed),
        reward=sum(each.reward for each in listed),
        seized=sum(each.seized for each in listed),
        gas=sum(each.gas for each in listed),
    )
