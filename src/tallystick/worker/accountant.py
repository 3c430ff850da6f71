"""Asks the chain what the end of each task moved for us, notes it, and says it in the log."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from tallystick.chain.hub import Hub
from tallystick.chain.payments import Payment, payment
from tallystick.engine.errors import Unavailable
from tallystick.engine.journal import ChainRef, Entry, Journal
from tallystick.engine.pulse import Pulse
from tallystick.lifecycle.facts import Claimed, Computed, Fact, Failed, Finalized
from tallystick.lifecycle.task import Task
from tallystick.poco.values import Address
from tallystick.worker.config import WorkerConfig
from tallystick.worker.earnings import LAST_LINES, SETTLED, Settled
from tallystick.worker.folder import TaskFolder

if TYPE_CHECKING:
    from tallystick.worker.session import Session, WorkerEngine

log = logging.getLogger(__name__)

_PAUSE = 2.0
"""Seconds before a node that did not answer is asked again."""
_LINES, _LONGEST = 20, 4_000
"""Lines and characters of what an app printed last that outlive its folder."""


@dataclass(slots=True)
class Accountant:
    """One worker's. What it could not ask at the end of a task, it asks later."""

    me: Address
    config: WorkerConfig
    hub: Hub
    engine: WorkerEngine
    journal: Journal[Fact]
    _open: dict[str, ChainRef] = field(default_factory=dict[str, ChainRef])
    """Tasks that were finalized, and not asked about."""
    _news: Pulse = field(default_factory=Pulse)

    def __post_init__(self) -> None:
        known = self.journal.notes(SETTLED)
        for entry in self.journal.read():
            if isinstance(entry.fact, Finalized) and entry.ref is not None:
                noted = known.get(SETTLED + entry.stream, "")
                if entry.ref.block_hash not in noted:
                    self._open[entry.stream] = entry.ref
        self.engine.listen(self._heard)

    async def run(self) -> None:
        """Settle what has ended, until cancelled."""
        while True:
            seen = self._news.count
            try:
                await self._settle()
            except Unavailable as trouble:
                log.debug("What was earned is asked again: %s", trouble)
                await anyio.sleep(_PAUSE)
            else:
                await self._news.next(seen)

    def _heard(self, entry: Entry[Fact]) -> None:
        match entry.fact:
            case Finalized() if entry.ref is not None:
                self._open[entry.stream] = entry.ref
                self._news.beat()
            case Claimed():
                self._say_released(entry.stream)
            case Failed(worker=worker) | Computed(worker=worker) if worker == self.me:
                self._keep_last_lines(entry.stream)
            case _:
                return

    async def _settle(self) -> None:
        for stream, ref in list(self._open.items()):
            task = self.engine.states.get(stream)
            if task is not None and self._concerns_us(task):
                paid = await payment(self.hub, task.id, self.me, block_hash=ref.block_hash)
                self._note(task, ref, paid)
            if self._open.get(stream) == ref:
                del self._open[stream]

    def _concerns_us(self, task: Task) -> bool:
        mine = task.replicates.get(self.me)
        return mine is not None and mine.vote is not None

    def _note(self, task: Task, ref: ChainRef, paid: Payment) -> None:
        found = Settled(
            reward=paid.reward,
            lost=paid.seized,
            at=float(paid.at),
            block_hash=ref.block_hash,
        )
        self.journal.note(f"{SETTLED}{task.id}", found.written())
        if paid.reward:
            log.info("Earned %s for task %s.", rlc(paid.reward), task.id)
        if paid.seized:
            log.warning(
                "A stake of %d nRLC was lost with task %s, because %s.",
                paid.seized,
                task.id,
                why_lost(task, self.me),
            )

    def _say_released(self, stream: str) -> None:
        task = self.engine.states.get(stream)
        if task is not None and self._concerns_us(task):
            log.info(
                "Task %s failed and nobody is paid; our stake of %d nRLC is free again.",
                stream,
                task.deal.worker_stake,
            )

    def _keep_last_lines(self, stream: str) -> None:
        """The folder goes when the task is over; why it failed is asked later."""
        task = self.engine.states.get(stream)
        logs = TaskFolder(self.config.home, task.id).logs() if task else None
        if logs is None:
            return
        lines = f"{logs.stdout}\n{logs.stderr}".strip().splitlines()[-_LINES:]
        try:
            self.journal.note(LAST_LINES + stream, "\n".join(lines)[-_LONGEST:])
        except Unavailable as trouble:
            log.debug("The last lines of %s are not kept: %s", stream, trouble)


def accountant_of(session: Session) -> Accountant:
    """The one that listens to the facts of `session`."""
    return Accountant(session.me, session.config, session.hub, session.engine, session.journal)


def why_lost(task: Task, me: Address) -> str:
    """Why our stake in a task that ended is gone."""
    mine = task.replicates[me]
    if mine.vote != task.consensus:
        return "another result won the vote"
    if not mine.revealed:
        return "our vote was not revealed in time"
    return "the contract took it"


def rlc(amount: int) -> str:
    """nRLC in RLC, with all its digits that are not zero, but two at least."""
    sign = "-" if amount < 0 else ""
    whole, rest = divmod(abs(amount), 10**9)
    return f"{sign}{whole}.{f'{rest:09d}'.rstrip('0').ljust(2, '0')} RLC"
