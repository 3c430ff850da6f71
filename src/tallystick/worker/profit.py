"""What a task is expected to earn after gas, before any work is done for it."""

from __future__ import annotations

import json
import logging
import math
import shlex
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Final

import anyio
import httpx2

from tallystick.engine.errors import Unavailable
from tallystick.lifecycle.task import Task
from tallystick.poco.contribution import Tally, weight
from tallystick.poco.rewards import payout, share
from tallystick.poco.values import Address, Hash, Nrlc, Wei
from tallystick.worker.funds import Funds, in_eth, in_gwei, in_rlc
from tallystick.worker.reason import Reason

log = logging.getLogger(__name__)

VOTE_GAS: Final = 386_000 + 93_500
"""What a contribution that reaches consensus and a first reveal take, as measured."""
FINISH_GAS: Final = 513_000
"""What contributing and finalizing at once takes."""
FRESH: Final = 300.0
"""Seconds for which a price of RLC is used before it is asked for again ..."""
STALE: Final = 3600.0
"""... and after which one that cannot be renewed is unknown."""
_PATIENCE: Final = 10.0
_LONGEST: Final = 4096
_MOST_WINNERS: Final = 64
_CHOICE: Final = Hash(bytes(32))


class NoRate(Exception):
    """What an RLC is worth is not known; the sentence tells why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What one task may earn, and what that rests on."""

    reward: Nrlc
    winners: int
    """Workers who share the reward: as few as can reach consensus, all of our weight."""
    gas: Wei
    """What vote and reveal cost at the price that would be offered now."""
    price: Wei
    """For a unit of gas."""
    eth_per_rlc: Decimal
    units: int = VOTE_GAS
    """Of gas."""

    @property
    def cost(self) -> Nrlc:
        """The gas, rounded up."""
        return math.ceil(self.gas / (self.eth_per_rlc * 10**9))

    @property
    def profit(self) -> Nrlc:
        """What is left of the reward, below zero for a loss."""
        return self.reward - self.cost

    @property
    def sentence(self) -> str:
        """The sum, with its assumptions."""
        return (
            f"{_signed(self.profit)} expected: {in_rlc(self.reward)} as one of "
            f"{self.winners} winner{'s' * (self.winners > 1)} (as few as can agree, all of our "
            f"weight), less {in_rlc(self.cost)} for gas ({self.units} units at "
            f"{in_gwei(self.price)} are {in_eth(self.gas)}; 1 RLC = {self.eth_per_rlc:f} ETH)"
        )


def fewest_winners(trust: int, power: int) -> int:
    """How many workers of this voting weight reach consensus when all agree."""
    tally = Tally()
    for count in range(1, _MOST_WINNERS):
        tally = tally.vote(_CHOICE, power)
        if tally.settles(_CHOICE, max(trust, 1)):
            return count
    return _MOST_WINNERS


def expected_reward(task: Task, power: int) -> tuple[Nrlc, int]:
    """Our part of the pool's price, and among how many it is divided."""
    winners = fewest_winners(task.deal.trust, power)
    shares = {Address(n.to_bytes(20, "big")): share(power) for n in range(winners)}
    paid = payout(
        task.deal.workerpool.price,
        shares=shares,
        lost_stakes=0,
        scheduler_ratio=task.deal.scheduler_reward_ratio,
    )
    return paid.workers[Address(bytes(20))], winners


@dataclass(slots=True)
class Rate:
    """The price of RLC in ETH, from where the operator says: a number, a command, a URL."""

    source: float | str
    clock: Callable[[], float] = time.monotonic
    _known: Decimal | None = None
    _at: float = 0.0

    async def now(self) -> Decimal:
        """ETH for one RLC. Raises NoRate."""
        if self._known is not None and self.clock() - self._at < FRESH:
            return self._known
        try:
            self._known, self._at = _number(await self._ask()), self.clock()
        except NoRate:
            if self._known is None or self.clock() - self._at >= STALE:
                raise
        return self._known

    async def _ask(self) -> str:
        source = str(self.source).strip()
        if not isinstance(self.source, str) or _is_number(source):
            return source
        if source.startswith(("http://", "https://")):
            return await _fetched(source)
        return await _printed(source)


@dataclass(slots=True)
class Profit:
    """A judge who declines what does not pay. Without a price of RLC it has no opinion."""

    me: Address
    funds: Funds
    rate: Rate | None
    min_profit: Nrlc = 0
    _complaint: str = field(default="")

    async def expected(self, task: Task) -> Expectation:
        """What `task` may earn. Raises NoRate, also when it is not set."""
        if self.rate is None:
            raise NoRate("eth_per_rlc is not set, so what a task earns after gas is unknown.")
        mine, rate = task.replicates.get(self.me), await self.rate.now()
        reward, winners = expected_reward(task, mine.weight if mine else weight(0))
        price = 0 if self.funds.free_gas else await self._gas_price()
        units = FINISH_GAS if mine is not None and mine.alone else VOTE_GAS
        return Expectation(
            reward=reward,
            winners=winners,
            gas=units * price,
            price=price,
            eth_per_rlc=rate,
            units=units,
        )

    async def objection(self, task: Task) -> Reason | None:
        """Why `task` does not pay; what is unknown decides nothing, and is said once."""
        try:
            found = await self.expected(task)
        except NoRate as unknown:
            self._say(str(unknown))
            return None
        self._complaint = ""
        if found.profit >= self.min_profit:
            return None
        return Reason(
            "LOW_PROFIT",
            f"{found.sentence}, but min_profit is {in_rlc(self.min_profit)}.",
        )

    async def _gas_price(self) -> Wei:
        if self.funds.known.gas_price is None:
            try:
                await self.funds.refresh()
            except Unavailable:
                return self.funds.fees.cap
        return self.funds.fees.price(self.funds.known.gas_price)

    def _say(self, sentence: str) -> None:
        if sentence != self._complaint:
            self._complaint = sentence
            level = logging.INFO if self.rate is None else logging.WARNING
            log.log(level, "Profit is unknown, and decides nothing: %s", sentence)


async def _printed(command: str) -> str:
    """What the operator's command prints. No shell reads it."""
    try:
        with anyio.fail_after(_PATIENCE):
            done = await anyio.run_process(
                shlex.split(command), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
    except TimeoutError as late:
        raise NoRate(f"The command {command!r} took more than {_PATIENCE:.0f} s.") from late
    except (OSError, ValueError, subprocess.CalledProcessError) as problem:
        raise NoRate(f"The command {command!r} does not work: {problem}.") from problem
    return done.stdout[:_LONGEST].decode(errors="replace")


async def _fetched(url: str) -> str:
    """What the operator's address answers."""
    try:
        async with (
            httpx2.AsyncClient(timeout=_PATIENCE, follow_redirects=True) as http,
            http.stream("GET", url) as answer,
        ):
            answer.raise_for_status()
            found = b""
            async for piece in answer.aiter_bytes():
                if len(found := found + piece) > _LONGEST:
                    break
    except (httpx2.HTTPError, httpx2.InvalidURL) as problem:
        raise NoRate(f"{url} does not tell the price of RLC: {problem}.") from problem
    return found.decode(errors="replace")


def _is_number(text: str) -> bool:
    try:
        return Decimal(text).is_finite()
    except InvalidOperation:
        return False


def _number(text: str) -> Decimal:
    """A positive number, bare or as the only thing in JSON quotes. Raises NoRate."""
    try:
        told = json.loads(text) if text.lstrip().startswith('"') else text.strip()
        found = Decimal(str(told))
    except (ValueError, InvalidOperation) as problem:
        raise NoRate(f"{text[:60]!r} is no price of RLC in ETH.") from problem
    if not found.is_finite() or not Decimal("1e-18") <= found <= Decimal("1e9"):
        raise NoRate(f"{text[:60]!r} is no price of RLC in ETH.")
    return found


def _signed(amount: Nrlc) -> str:
    return ("-" if amount < 0 else "") + in_rlc(abs(amount))
