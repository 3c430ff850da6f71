"""What each task that ended moved for the scheduler: asked of the chain once, and noted."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import anyio

from tallystick.chain.hub import Hub
from tallystick.chain.logs import (
    Reward,
    Seize,
    TaskClaimed,
    TaskFinalize,
    TaskInitialize,
    TaskReopen,
)
from tallystick.chain.receipts import Mined, receipts
from tallystick.engine.errors import Unavailable
from tallystick.engine.journal import Entry, Journal
from tallystick.engine.pulse import Pulse
from tallystick.lifecycle.facts import Claimed, Fact, Finalized, Initialized, Reopened
from tallystick.lifecycle.task import Task
from tallystick.poco.values import Address, TaskId
from tallystick.scheduler.money import TaskMoney

log = logging.getLogger(__name__)

_MONEY: Final = "money "
"""Before a task's name: the note that tells what its end moved."""
_PAUSE: Final = 2.0
"""Seconds before a node that did not answer is asked again."""
_AT_ONCE: Final = 20
"""Tasks asked about in one batch."""
_ACTS = (Initialized, Reopened, Finalized, Claimed)
"""Facts that a transaction of the scheduler may have caused."""
_MARKS = (TaskInitialize, TaskReopen, TaskFinalize, TaskClaimed)


@dataclass(slots=True, kw_only=True)
class MoneyBook:
    """One pool's. Gas and rewards are the chain's own figures, read in the receipts of the
    transactions that opened and ended a task; so it does not matter who sent them."""

    journal: Journal[Any]
    hub: Hub
    wallet: Address
    tasks: Mapping[str, Task]
    _due: dict[str, None] = field(default_factory=dict[str, None])
    _known: dict[str, TaskMoney] = field(default_factory=dict[str, TaskMoney])
    _news: Pulse = field(default_factory=Pulse)
    _watchers: list[Callable[[str], None]] = field(default_factory=list[Callable[[str], None]])

    def __post_init__(self) -> None:
        self.read_again()
        for stream, task in self.tasks.items():
            if task.status.over and self._lacks(stream):
                self._due[stream] = None

    def read_again(self) -> None:
        """What was noted, perhaps by another scheduler of the pool."""
        for key, text in self.journal.notes(_MONEY).items():
            self._take(key.removeprefix(_MONEY), TaskMoney(**json.loads(text)))

    def heard(self, entry: Entry[Fact]) -> None:
        """A task has ended, perhaps again after a reorg: ask what that moved."""
        if isinstance(entry.fact, Finalized | Claimed):
            self._due[entry.stream] = None
            self._news.beat()

    async def run(self) -> None:
        """Settle what has ended, until cancelled."""
        while True:
            seen = self._news.count
            try:
                await self.settle()
            except Unavailable as trouble:
                log.debug("What was earned is asked again: %s", trouble)
                await anyio.sleep(_PAUSE)
            else:
                await self._news.next(seen)

    async def settle(self) -> None:
        """Ask about every task that ended since. Raises Unavailable."""
        while self._due:
            streams = list(self._due)[:_AT_ONCE]
            acts = {stream: self._acts(stream) for stream in streams}
            wanted = [e.ref.tx for each in acts.values() for e in each if e.ref and e.ref.tx]
            mined = await receipts(self.hub, wanted)
            for stream in streams:
                self._note(stream, acts[stream], mined)
                self._due.pop(stream, None)

    def settled(self) -> list[TaskMoney]:
        """Every task whose end is known, and still is one: a reorg may undo it."""
        return [
            each
            for stream, each in self._known.items()
            if (task := self.tasks.get(stream)) is None or task.status.over
        ]

    def of(self, stream: str) -> TaskMoney | None:
        """What the end of a task moved; None while that is not known, or it has not ended."""
        task = self.tasks.get(stream)
        return None if task is None or not task.status.over else self._known.get(stream)

    def watch(self, watcher: Callable[[str], None]) -> None:
        """Call `watcher` with the name of each task of which something else is known."""
        self._watchers.append(watcher)

    def by_deal(self) -> dict[str, list[TaskMoney]]:
        """The same by deal."""
        deals: dict[str, list[TaskMoney]] = defaultdict(list)
        for each in self.settled():
            deals[each.deal].append(each)
        return dict(deals)

    def _lacks(self, stream: str) -> bool:
        """Whether the chain is to be asked: never done, or before workers were noted too."""
        known = self._known.get(stream)
        return known is None or known.paid is None

    def _take(self, stream: str, found: TaskMoney) -> None:
        if self._known.get(stream) == found:
            return
        self._known[stream] = found
        for watcher in self._watchers:
            watcher(stream)

    def _acts(self, stream: str) -> list[Entry[Fact]]:
        found = [e for e in self.journal.read(stream=stream) if isinstance(e.fact, _ACTS)]
        return [entry for entry in found if entry.ref is not None]

    def _note(
        self, stream: str, acts: Iterable[Entry[Fact]], mined: Mapping[str, Mined]
    ) -> None:
        task, ends = self.tasks.get(stream), [e for e in acts if _is_end(e)]
        if task is None or not ends or ends[-1].ref is None:
            return
        last = ends[-1].ref
        told = list(dict.fromkeys(e.ref.tx for e in acts if e.ref and e.ref.tx in mined))
        end, owner = mined.get(last.tx or ""), task.deal.workerpool.owner
        found = TaskMoney(
            task=stream,
            deal=str(task.deal.id),
            completed=isinstance(ends[-1].fact, Finalized),
            reward=_moved(end, Reward, owner, task.id),
            seized=_moved(end, Seize, owner, task.id),
            gas=sum(_part(mined[tx], self.wallet, task.id) for tx in told if tx),
            block_hash=last.block_hash,
            paid=_by_worker(end, Reward, task),
            forfeited=_by_worker(end, Seize, task),
        )
        self.journal.note(f"{_MONEY}{stream}", json.dumps(asdict(found)))
        self._take(stream, found)


def _is_end(entry: Entry[Fact]) -> bool:
    return isinstance(entry.fact, Finalized | Claimed)


def _by_worker(
    mined: Mined | None, kind: type[Reward] | type[Seize], task: Task
) -> dict[str, int]:
    """What moved for those who had a replicate: others are told of in the same logs, like the
    app's owner. A pool's owner that works for it is not told apart from its worker."""
    found: dict[str, int] = defaultdict(int)
    for each in mined.logs if mined else ():
        if not isinstance(each, kind) or each.task != task.id:
            continue
        if each.account in task.replicates and each.account != task.deal.workerpool.owner:
            found[str(each.account)] += each.amount
    return dict(found)


def _moved(
    mined: Mined | None, kind: type[Reward] | type[Seize], owner: Address, task: TaskId
) -> int:
    if mined is None:
        return 0
    return sum(
        each.amount
        for each in mined.logs
        if isinstance(each, kind) and each.account == owner and each.task == task
    )


def _part(mined: Mined, wallet: Address, task: TaskId) -> int:
    """What `wallet` paid in this transaction for `task`, which it may have sent for several:
    they divide the fee, and the first ones pay what that leaves."""
    if mined.sender != wallet:
        return 0
    named = dict.fromkeys(each.task for each in mined.logs if isinstance(each, _MARKS))
    sharing = list(named) or [task]
    each, rest = divmod(mined.fee, len(sharing))
    return each + (task in sharing[:rest])
