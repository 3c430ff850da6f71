"""Whether a worker can pay: gas for its calls, and a stake for every vote at the same time.

Nothing here ever ends the worker. What is missing closes the gate for new work, is said once,
and is looked for again with every block; what is owed goes on meanwhile.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Protocol

import anyio

from tallystick.chain.fees import Fees, Tank
from tallystick.chain.heads import Heads
from tallystick.chain.hub import Hub
from tallystick.chain.pending import OutOfGas, Pending
from tallystick.chain.standing import Purse, purse
from tallystick.engine.errors import Unavailable
from tallystick.engine.pulse import Pulse
from tallystick.lifecycle.facts import Step
from tallystick.lifecycle.replicate import BEFORE_VOTE, Status
from tallystick.lifecycle.task import Task
from tallystick.poco.values import Address, Instant, Nrlc, TaskId, Wei
from tallystick.worker.config import WorkerConfig
from tallystick.worker.gas import gas_due, is_ahead, vote_gas
from tallystick.worker.reason import Reason

log = logging.getLogger(__name__)

IDLE = 60.0
"""Seconds between two looks at the balances while nothing is wrong: a chain may make several
blocks a second, and each task looks anyway before it is taken."""
_BLOCK = 1.0
"""Seconds after which a look is due where nobody tells of new blocks."""
_SILENCE = 15.0
"""Seconds after which it is due when no block was told."""
_LATELY = 8
"""Tasks by whose stakes the next one's is guessed."""


def fees_of(config: WorkerConfig) -> Fees:
    """How the settings want gas to be paid."""
    return Fees(
        multiplier=config.gas_price_multiplier,
        cap=config.gas_price_cap,
        legacy=config.legacy_fees,
    )


def reveal_cap_of(config: WorkerConfig) -> Wei:
    """The most that a reveal may offer for a unit of gas."""
    return 4 * config.gas_price_cap if config.reveal_cap is None else config.reveal_cap


def reserved(tasks: Iterable[Task], me: Address) -> Nrlc:
    """What replicates of `me` will lock when they vote."""
    return sum(stake_of(task, me) for task in tasks if _will_vote(task, me))


def stake_of(task: Task, me: Address) -> Nrlc:
    """What a vote of `me` on `task` locks: nothing where it finalizes the task at once."""
    mine = task.replicates.get(me)
    return 0 if mine is not None and mine.alone else task.deal.worker_stake


def ahead_of(task: Task, tasks: Iterable[Task], me: Address) -> Iterator[Task]:
    """Those whose votes come before that on `task`: taken up earlier, or begun already."""
    earlier = True
    for other in tasks:
        if other.id == task.id:
            earlier = False
        elif earlier or _has_begun(other, me):
            yield other


def _has_begun(task: Task, me: Address) -> bool:
    mine = task.replicates.get(me)
    return mine is not None and mine.status is not Status.ASSIGNED


def _will_vote(task: Task, me: Address) -> bool:
    mine = task.replicates.get(me)
    return mine is not None and mine.status in BEFORE_VOTE and not task.status.over


def _is_voting(task: Task, me: Address) -> bool:
    mine = task.replicates.get(me)
    return mine is not None and mine.doing in (Step.CONTRIBUTE, Step.FINISH)


class Waiting(Protocol):
    """A wallet's sender: tells what waits."""

    @property
    def pending(self) -> tuple[Pending, ...]:
        """What is signed and not mined."""
        ...


@dataclass(slots=True)
class _Owed:
    """A reveal that is under way."""

    task: TaskId
    deadline: Instant
    need: Wei | None = None
    """What the wallet must have for it; None where nobody knows."""


@dataclass(slots=True)
class Funds:
    """What the wallet can pay for, by what was last known. A gate and a judge."""

    me: Address
    hub: Hub
    sender: Waiting
    fees: Fees
    heads: Heads | None = None
    free_gas: bool = False
    """On a side chain where nobody pays for gas no balance is looked at."""
    states: dict[str, Task] = field(default_factory=dict[str, Task])
    """The engine's, once it is there."""
    changes: Pulse = field(default_factory=Pulse)
    """Beats when the gate opens or closes."""
    known: Purse = Purse(account=None, balance=None, gas_price=None)  # noqa: RUF009 (a value)
    """The last that any node told."""
    _at: float = 0.0
    _said: str = ""
    _owed: dict[TaskId, _Owed] = field(default_factory=dict[TaskId, _Owed])
    _poor: dict[TaskId, _Owed] = field(default_factory=dict[TaskId, _Owed])
    """Reveals that could not be paid for when last tried, also while none is under way."""

    async def run(self) -> None:
        """Look at the balances as blocks come, until cancelled."""
        while True:
            try:
                await self.refresh()
            except Unavailable as trouble:
                log.info("The balances of the wallet cannot be read: %s", trouble)
                await self.next_block()
            else:
                await self._next()

    async def _next(self) -> None:
        """Wait until the balances are worth a look: with each block while they matter."""
        while self.closed() is None and not self._owed:
            seen = self.changes.count
            if (rest := self._at + IDLE - time.monotonic()) <= 0:
                return
            await self.changes.next(seen, rest)
        await self.next_block()

    async def next_block(self) -> None:
        """Wait until the chain may have changed."""
        if self.heads is None:
            await anyio.sleep(_BLOCK)
        else:
            await self.heads.change(self.heads.count, within=_SILENCE)

    async def refresh(self) -> None:
        """Ask a node. What it does not tell stays as it was. Raises Unavailable."""
        told = await purse(self.hub, self.me)
        self._at = time.monotonic()
        self.known = Purse(
            account=told.account or self.known.account,
            balance=self.known.balance if told.balance is None else told.balance,
            gas_price=told.gas_price,
        )
        self._tell()

    @property
    def age(self) -> float | None:
        """Seconds since a node last told the balances; None when none ever did."""
        return time.monotonic() - self._at if self._at else None

    @property
    def tank(self) -> Tank | None:
        """How far the wallet's coin goes; None while nobody knows, or where gas is free."""
        if self.free_gas or self.known.balance is None:
            return None
        return Tank(self.known.balance, self.fees.price(self.known.gas_price))

    @property
    def free_stake(self) -> Nrlc | None:
        """nRLC on the hub that no vote has locked and none of ours will; None: unknown."""
        account = self.known.account
        return None if account is None else account.stake - reserved(self._tasks, self.me)

    @property
    def more_tasks(self) -> int | None:
        """How many more tasks like the last ones the deposit covers; None: unknown, or as many
        as there are, since they lock nothing."""
        free, stake = self.free_stake, self._usual_stake()
        return max(0, free // stake) if free is not None and stake else None

    def closed(self) -> Reason | None:
        """Why no work may be asked for. What is unknown closes nothing."""
        return self._cannot_reveal() or self._capped_out() or self._no_gas() or self._no_stake()

    async def objection(self, task: Task) -> Reason | None:
        """Why a vote on `task` could not be paid for."""
        try:
            await self.refresh()
        except Unavailable:
            return None
        account = self.known.account
        return None if account is None else self.short_of(task, account.stake)

    def short_of(self, task: Task, free: Nrlc) -> Reason | None:
        """What is missing of the stake of `task`, with `free` nRLC on the hub, when the votes
        that come before it have locked theirs."""
        before = ahead_of(task, self._tasks, self.me)
        return _short(stake_of(task, self.me), free, reserved(before, self.me))

    def gas_ahead(self, task: Task) -> int:
        """Gas that votes which are out, or about to be, will take before that on `task`."""
        return sum(
            self._gas_due(other)
            for other in self._tasks
            if other.id != task.id and is_ahead(other.replicates.get(self.me))
        )

    def _gas_due(self, task: Task) -> int:
        open_still = not task.status.over
        return gas_due(task.replicates.get(self.me), task.consensus) if open_still else 0

    @contextmanager
    def revealing(self, task: Task) -> Iterator[None]:
        """While inside, a reveal of `task` is owed."""
        deadline = task.reveal_deadline or task.deal.final_deadline
        self._owed[task.id] = _Owed(task.id, deadline)
        try:
            yield
        finally:
            del self._owed[task.id]
            self.changes.beat()

    def starving(self, task: Task, trouble: OutOfGas) -> None:
        """The reveal of `task` cannot be paid for: say so once, and take up no new work."""
        news = task.id not in self._poor
        deadline = task.reveal_deadline or task.deal.final_deadline
        self._poor[task.id] = _Owed(task.id, deadline, trouble.need)
        if news and (reason := self._cannot_reveal()):
            log.error("ALARM: %s", reason.sentence)
            self.changes.beat()

    def paid(self, task: Task) -> None:
        """Nothing of the reveal of `task` is owed any more."""
        if self._poor.pop(task.id, None) is not None:
            log.info("%s: its reveal could be paid for.", task.id)
            self.changes.beat()

    @property
    def _tasks(self) -> Iterable[Task]:
        return self.states.values()

    def _cannot_reveal(self) -> Reason | None:
        poor = next((each for each in self._poor.values() if self._is_owed(each.task)), None)
        if poor is None:
            return None
        amount = f"at least {in_eth(poor.need)} must be in it" if poor.need else "top it up"
        return Reason(
            "OUT_OF_GAS",
            f"Out of gas! please refill your wallet [walletAddress:{self.me}]: the vote on "
            f"{poor.task} must be revealed until {_time(poor.deadline)} or its stake is lost; "
            f"{amount}. It is tried again with every block, and no new work is taken up.",
        )

    def _is_owed(self, id: TaskId) -> bool:
        """Whether a reveal still can be made."""
        task = self.states.get(str(id))
        mine = None if task is None else task.replicates.get(self.me)
        return mine is not None and mine.status is Status.CONTRIBUTED

    def _capped_out(self) -> Reason | None:
        capped = next((each for each in self.sender.pending if each.capped), None)
        if capped is None:
            return None
        by = min((each.deadline for each in self._owed.values()), default=None)
        due = "" if by is None else f" A reveal is due by {_time(by)}."
        return Reason(
            "GAS_PRICE_CAP",
            f"The chain asks for more gas than the cap of {in_gwei(capped.cap)} allows: to "
            f"{capped.what} waits since {_time(int(capped.since))}.{due} Raise gas_price_cap "
            "or reveal_cap, or wait for a cheaper chain; no new work is taken up.",
        )

    def _no_gas(self) -> Reason | None:
        tank = self.tank
        if tank is None:
            return None
        taken = sum(map(self._gas_due, self._tasks))
        if tank.covers(taken + vote_gas(alone=False)):
            return None
        if not tank.empty:
            promised = in_eth(taken * tank.price)
            return Reason(
                "OUT_OF_GAS",
                f"{in_eth(tank.balance)} are in the wallet {self.me}, and {promised} of them "
                "are promised to tasks under way: the rest pays for no vote and its reveal.",
            )
        return Reason(
            "OUT_OF_GAS",
            f"ETH balance is empty, please refill gas now {self._figures(tank)} "
            f"[walletAddress:{self.me}]: the worker takes up no work until then.",
        )

    def _no_stake(self) -> Reason | None:
        if self.known.account is None:
            return None
        taken = reserved(self._tasks, self.me)
        return _short(self._usual_stake(), self.known.account.stake, taken)

    def _usual_stake(self) -> Nrlc:
        """The smallest stake among the last tasks: what the next one locks at least."""
        lately = islice(reversed(self.states.values()), _LATELY)
        return min((stake_of(task, self.me) for task in lately), default=0)

    def _figures(self, tank: Tank) -> str:
        """Balance and transactions, by the price that would be paid and by the cap."""
        most = Tank(tank.balance, self.fees.cap, tank.gas).transactions
        return (
            f"[balance:{in_eth(tank.balance)}, estimateTxNb:{tank.transactions} at "
            f"{in_gwei(tank.price)}, {most} at the cap of {in_gwei(self.fees.cap)}]"
        )

    def _tell(self) -> None:
        """Say what changed about the money, once."""
        if any(_is_voting(task, self.me) for task in self._tasks):
            return  # its stake may be locked already, and be counted as promised still
        tank, reason = self.tank, self.closed()
        state = reason.code if reason else "low" if tank and tank.low else "fine"
        if state == self._said:
            return
        self._said = state
        self.changes.beat()
        if reason is not None:
            log.error("%s", reason.sentence)
        elif tank is not None and tank.low:
            log.warning("ETH balance very low, should refill gas now %s", self._figures(tank))
        elif tank is not None:
            log.info("ETH balance is fine %s", self._figures(tank))


def _short(stake: Nrlc, free: Nrlc, taken: Nrlc) -> Reason | None:
    missing = stake + taken - free
    if not stake or missing <= 0:
        return None
    return Reason(
        "STAKE_TOO_LOW",
        f"A vote locks {in_rlc(stake)}; {in_rlc(free)} are free on the hub and {in_rlc(taken)} "
        f"of them are promised to tasks under way: deposit {in_rlc(missing)} more.",
    )


def in_rlc(amount: Nrlc) -> str:
    """With all nine digits, so that rounding hides nothing that is compared."""
    return f"{amount // 10**9}.{amount % 10**9:09d} RLC"


def in_eth(amount: Wei) -> str:
    """To a millionth of the chain's coin, rounded up: this much is enough."""
    return f"{-(-amount // 10**12) / 10**6:.6f} ETH"


def in_gwei(price: Wei) -> str:
    """A price of gas."""
    return f"{price / 10**9:g} gwei"


def _time(instant: Instant) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
