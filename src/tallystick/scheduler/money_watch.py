"""Watches what the pool's owner has: stake for the next deals, and gas for its transactions."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import anyio

from tallystick.chain.abi import quantity
from tallystick.chain.fees import Fees
from tallystick.chain.hub import Hub
from tallystick.chain.records import WorkerpoolInfo
from tallystick.engine.errors import Unavailable
from tallystick.engine.journal import Entry
from tallystick.engine.pulse import Pulse
from tallystick.lifecycle.facts import Claimed, Fact, Finalized, Ordered
from tallystick.poco.orders import WorkerpoolOrder
from tallystick.poco.rewards import scheduler_stake
from tallystick.poco.values import Address, Nrlc, Wei
from tallystick.scheduler.config import SchedulerConfig
from tallystick.scheduler.money import gas_of_scheduler, outlook, stake_for, tasks_covered
from tallystick.scheduler.terms import OrderTerms

log = logging.getLogger(__name__)

_LOOK: Final = 30.0
"""Seconds after which the chain is asked anew even when nothing happened here."""
_KNOWN: Final = 300.0
"""Seconds for which an order counts as one that loses money: each minute it is looked at."""
_REST: Final = 1.0
"""Seconds between two looks at most often: many tasks may end in one block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purse:
    """What the owner had at the last look."""

    free: Nrlc
    """Deposit that deals to come can lock."""
    locked: Nrlc
    balance: Wei
    """For gas."""
    gas_price: Wei
    """What a unit of gas would be offered now."""
    at: float
    """Seconds since the epoch."""
    network: Wei | None = None
    """What the network asks for a unit of gas; None where gas is free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover:
    """How far the free deposit goes for one order."""

    order: WorkerpoolOrder
    remaining: int
    """Tasks that it still sells."""
    tasks: int | None
    """Tasks that the deposit is good for; None where none locks anything."""

    @property
    def needed(self) -> Nrlc:
        """What a deal over all that is left would lock."""
        return stake_for(self.order.price, self.remaining)


@dataclass(slots=True, kw_only=True)
class MoneyWatch:
    """One pool's."""

    hub: Hub
    owner: Address
    config: SchedulerConfig
    fees: Fees
    on_offer: Callable[[], Iterable[tuple[WorkerpoolOrder, int]]]
    """The orders on offer, each with the tasks that it still sells."""
    purse: Purse | None = None
    _losses: dict[OrderTerms, tuple[float, str]] = field(
        default_factory=dict[OrderTerms, tuple[float, str]]
    )
    """What is on offer although it loses money, when that was seen, and in a sentence."""
    _said: tuple[str, ...] = ()
    _news: Pulse = field(default_factory=Pulse)

    def heard(self, entry: Entry[Fact]) -> None:
        """A deal locks stake, the end of a task frees it."""
        if isinstance(entry.fact, Ordered | Finalized | Claimed):
            self._news.beat()

    async def run(self) -> None:
        """Look, and warn, until cancelled."""
        while True:
            seen = self._news.count
            try:
                await self.look()
            except Unavailable as trouble:
                log.debug("What the pool has is asked again: %s", trouble)
            self._warn()
            await anyio.sleep(_REST)
            await self._news.next(seen, _LOOK)

    async def look(self) -> Purse:
        """Ask the chain. Raises Unavailable."""
        account = await self.hub.account(self.owner)
        self.purse = Purse(
            free=account.stake,
            locked=account.locked,
            balance=await self.hub.balance(self.owner),
            network=(network := await self._network()),
            gas_price=0 if network is None else self.fees.price(network),
            at=time.time(),
        )
        return self.purse

    async def gas_price(self) -> Wei:
        """What a unit of gas would be offered now; 0 where gas is free. Raises Unavailable."""
        network = await self._network()
        return 0 if network is None else self.fees.price(network)

    async def _network(self) -> Wei | None:
        if self.config.sidechain:
            return None
        return quantity(await self.hub.rpc.call("eth_gasPrice"))

    async def objection(self, terms: OrderTerms, pool: WorkerpoolInfo) -> str:
        """Why an order on these terms is not to be offered: it would lose money at today's
        price of gas, by the price of RLC in the settings. Empty when it may be, perhaps with a
        warning. Raises Unavailable."""
        rate = self.config.eth_per_rlc
        found = outlook(
            terms.price,
            trust=terms.trust,
            ratio=pool.reward_ratio,
            gas_price=await self.gas_price(),
            eth_per_rlc=rate,
        )
        if not found.loses or found.profit is None:
            self._losses.pop(terms, None)
            return ""
        sentence = (
            f"An order of category {terms.category} at {terms.price} nRLC loses"
            f" {-found.profit} nRLC a task: the scheduler keeps {found.reward} nRLC at trust"
            f" {terms.trust}, and {found.gas} units of gas at {found.gas_price} wei cost more"
            f" (1 RLC = {rate:f} ETH)."
        )
        if self.config.allow_loss:
            sentence += " It is on offer all the same (allow_loss)."
            if terms not in self._losses:
                log.warning("%s", sentence)
            self._losses[terms] = time.monotonic(), sentence
            return ""
        return f"{sentence} It is not offered: raise the price, or set allow_loss."

    def covers(self) -> list[Cover]:
        """How far the free deposit goes, for each order on offer; empty while it is unknown."""
        if self.purse is None:
            return []
        free = self.purse.free
        return [
            Cover(order=order, remaining=left, tasks=tasks_covered(free, order.price))
            for order, left in self.on_offer()
        ]

    def warnings(self) -> list[str]:
        """What will keep deals from being made, or tasks from being ended, in sentences."""
        if self.purse is None:
            return ["What the pool's wallet has is not known: no node has told it yet."]
        oldest = time.monotonic() - _KNOWN
        losses = [sentence for at, sentence in self._losses.values() if at > oldest]
        return [*self._about_stake(self.purse), *self._about_gas(self.purse), *losses]

    def _about_stake(self, purse: Purse) -> Iterator[str]:
        for cover in self.covers():
            order, wanted = cover.order, min(cover.remaining, self.config.stake_warning)
            if cover.tasks is None or cover.tasks >= wanted:
                continue
            missing = stake_for(order.price, wanted) - purse.free
            stops = (
                "Nobody can buy a task"
                if cover.tasks == 0
                else f"Only {cover.tasks} tasks can be bought"
            )
            yield (
                f"{stops} of category {order.category} at {order.price} nRLC: each locks"
                f" {scheduler_stake(order.price)} nRLC, and {purse.free} nRLC of {self.owner}"
                f" are free. Deposit {missing} nRLC or more."
            )

    def _about_gas(self, purse: Purse) -> Iterator[str]:
        each = gas_of_scheduler(1) * purse.gas_price
        if each and purse.balance < each * self.config.stake_warning:
            yield (
                f"The wallet {self.owner} has {purse.balance} wei: enough gas for"
                f" {purse.balance // each} tasks at today's price. Top it up."
            )

    def _warn(self) -> None:
        found = tuple(self.warnings())
        told = {sentence for _, sentence in self._losses.values()}  # when it was seen
        for sentence in found:
            if sentence not in self._said and sentence not in told:
                log.warning("%s", sentence)
        self._said = found
