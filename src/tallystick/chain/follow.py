"""What the chain reports, as facts of an engine: recorded, and undone by a reorg."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import anyio

from tallystick.chain.answers import RpcError
from tallystick.chain.hub import Hub
from tallystick.chain.logs import (
    Log,
    Ref,
    SchedulerNotice,
    TaskClaimed,
    TaskConsensus,
    TaskContribute,
    TaskFinalize,
    TaskInitialize,
    TaskReopen,
    TaskReveal,
    decode,
)
from tallystick.chain.standing import answered
from tallystick.chain.watcher import Blocks, Rollback, Watcher
from tallystick.engine.clock import ChainClock
from tallystick.engine.complaints import Complaints
from tallystick.engine.engine import Engine
from tallystick.engine.errors import Unavailable
from tallystick.engine.fence import Fenced
from tallystick.engine.journal import ChainRef, Journal
from tallystick.lifecycle.facts import (
    Claimed,
    ConsensusReached,
    Contributed,
    Fact,
    Finalized,
    IllegalFact,
    Initialized,
    Ordered,
    Reopened,
    Revealed,
)
from tallystick.lifecycle.task import Task, advance
from tallystick.poco.contribution import weight
from tallystick.poco.values import Hash, TaskId

log = logging.getLogger(__name__)

CURSOR = "chain cursor"
"""The note that keeps where a watcher stopped."""

_PAUSE = 0.2
"""Seconds before news is taken over again when the node did not answer a question about it."""
_LINK_LIMIT = 4096
"""Bytes of `results` that are kept; a link is far shorter."""

TaskLog = (
    TaskInitialize
    | TaskContribute
    | TaskConsensus
    | TaskReveal
    | TaskReopen
    | TaskFinalize
    | TaskClaimed
)


class NoteCursor:
    """Where a watcher stopped, kept among the notes of a journal."""

    def __init__(self, journal: Journal[Any]) -> None:
        self._journal = journal

    def load(self) -> list[tuple[int, Hash]]:
        """The last blocks that were taken over, newest last."""
        blocks = json.loads(self._journal.noted(CURSOR) or "[]")
        return [(number, Hash(text)) for number, text in blocks]

    def save(self, blocks: list[tuple[int, Hash]]) -> None:
        """These blocks are in the journal now."""
        # With every block there are many to write, and `json` takes its time.
        texts = [f'[{number}, "{each}"]' for number, each in blocks]
        self._journal.note(CURSOR, f"[{', '.join(texts)}]")


Births = Callable[[SchedulerNotice], Awaitable[None]]
"""What to do about a deal that was made."""


@dataclass(frozen=True, slots=True)
class _Doubt:
    """A crash may have come between the facts of a block and the cursor: whatever lies above
    `block` is read again, from the chain as it is now."""

    block: int


class Follower:
    """Keeps the states of an engine and a clock in step with the chain.

    `births` is told of every deal; `moved` of every reorg, after the states are folded again.
    """

    def __init__(
        self,
        *,
        hub: Hub,
        watcher: Watcher,
        engine: Engine[Task, Fact, Any],
        clock: ChainClock,
        births: Births | None = None,
        moved: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._hub, self._watcher, self._engine, self._clock = hub, watcher, engine, clock
        self._births, self.moved = births, moved
        self._complaints = Complaints(log)
        self.head = 0
        """The newest block taken over."""
        self.caught_up: Callable[[], object] = lambda: None
        """Called once, when the past is taken over: the clock may be asked from now on."""
        self._goal: int | None = None
        """Where the past ends: the newest block that there was when its reading began."""
        self._past = True
        """Whether it is still read."""
        self._begun, self._turn = anyio.Event(), anyio.Lock()

    @property
    def clock(self) -> ChainClock:
        """The time by the newest block."""
        return self._clock

    async def run(self) -> None:
        """Follow until cancelled."""
        if known := self._watcher.position:
            await self._insist(_Doubt(known[-1][0]))
        async for news in self._watcher.follow():
            await self._insist(news)

    async def _insist(self, news: Blocks | Rollback | _Doubt) -> None:
        """Take it over, from its start again when a node was away, or the disk was full: what
        is known is known."""
        while True:
            try:
                async with self._turn:
                    await self._take_over(news)
            except Unavailable as trouble:
                self._complaints.about("The news of the chain", trouble)
            else:
                self._complaints.over("The news of the chain")
                return
            await anyio.sleep(_PAUSE)

    async def _take_over(self, news: Blocks | Rollback | _Doubt) -> None:
        match news:
            case _Doubt(block):
                self._engine.roll_back(block)
            case Rollback(to=block):
                await self._undo(block)
                self._watcher.taken(news)
            case Blocks(head=head, logs=logs, tip=tip):
                self._clock.waits = self._past
                self._clock.saw(tip.timestamp)
                await self._take_all(logs)
                self._watcher.taken(news)
                self.head = head.number
                self._begun.set()
                if self._past:
                    self._look_for_present(news)
                self._engine.review_all()

    def _look_for_present(self, news: Blocks) -> None:
        """The past has an end: what was the newest block when its reading began, or what is the
        newest one of a node that knows fewer. Until then nothing is decided, since tasks that
        are open in what was read may have ended long ago."""
        self._goal = news.target if self._goal is None else self._goal
        if news.head.number >= min(self._goal, news.target):
            self._past = self._clock.waits = False
            self.caught_up()
        else:
            log.info("The past is read up to block %d of %d", news.head.number, self._goal)

    async def catch_up(self, born: Ordered, from_block: int) -> None:
        """Take up a task, and what happened to it before we knew it, up to the block that we
        follow from: what comes later, or is undone, we are told like everything else. Raises
        Unavailable, also while a node knows the task and tells nothing of its opening.

        All of it becomes durable at once, or nothing: who knew of the deal alone would wait for
        an opening that is long past.
        """
        task = born.deal.task_id(born.index)
        stream = str(task)
        await self._begun.wait()
        async with self._turn:
            question: dict[str, Any] = {
                "address": str(self._hub.address),
                "fromBlock": hex(max(0, min(from_block, self.head))),
                "toBlock": hex(self.head),
                "topics": [None, stream],
            }
            told = _about(await self._hub.rpc.call("eth_getLogs", question))
            if not _opened(told):
                await self._require_unborn(task, question)
            known = self._engine.states.get(stream)
            proven = [
                (await self._fact(each, known or advance(None, born)), each.at) for each in told
            ]
            with self._engine.together():
                if known is None:
                    self._engine.record(stream, born)
                for fact, at in proven:
                    self._record(stream, fact, at)

    async def _require_unborn(self, task: TaskId, question: dict[str, Any]) -> None:
        """Raises Unavailable when a node knows a task, and its opening is not in blocks that we
        will hear of later: it, or the one asked before, lies or did not index them yet."""
        about = self._hub.queries.task(task)
        known, later = await self._hub.rpc.batch(
            [about.request, ("eth_getLogs", ({**question, "toBlock": "latest"},))]
        )
        heard = int(question["toBlock"], 16)
        coming = [each for each in _about(_told(later)) if each.at.block > heard]
        if answered(about, known) is not None and not _opened(coming):
            self._hub.rpc.doubt()
            raise Unavailable(f"A node has {task}, but tells no log of its opening.")

    async def _take_all(self, logs: Iterable[Log]) -> None:
        for _, together in groupby(logs, key=lambda each: each.at.transaction):
            await self.take(*together)

    async def take(self, *logs: Log) -> None:
        """Record what the logs of one transaction prove of the tasks that we know, all at once:
        a task that is voted on and finalized in one has no moment in which a reveal is owed."""
        proven: list[tuple[str, Fact, Ref]] = []
        for each in logs:
            if isinstance(each, SchedulerNotice):
                if self._births is not None:
                    await self._births(each)
            elif isinstance(each, TaskLog):
                stream = str(each.task)
                if (task := self._engine.states.get(stream)) is not None:
                    proven.append((stream, await self._fact(each, task), each.at))
        for stream, fact, at in proven:
            self._record(stream, fact, at)

    def _record(self, stream: str, fact: Fact, at: Ref) -> None:
        ref = ChainRef(at.block, str(at.block_hash), at.index, str(at.transaction))
        try:
            self._engine.record(stream, fact, ref)
        except IllegalFact as known:
            log.debug("%s at block %d tells nothing new: %s", stream, at.block, known)
        except Fenced:
            log.debug("%s is for its owner to record", stream)

    async def _undo(self, block: int) -> None:
        streams = self._engine.roll_back(block)
        log.warning("The chain went back to block %d: %d tasks folded", block, len(streams))
        self.head = min(self.head, block)
        if self.moved is not None:
            await self.moved()

    async def _fact(self, each: TaskLog, task: Task) -> Fact:
        match each:
            case TaskContribute(worker=worker):
                return Contributed(worker, each.result_hash, await self._weight(each))
            case TaskConsensus():
                return ConsensusReached(
                    each.result_hash, await self._reveal_deadline(each, task)
                )
            case _:
                return plain_fact(each)

    async def _weight(self, each: TaskContribute) -> int:
        """The vote's weight by the score of now. It can differ from the score at the vote when
        another task of the worker ended in between: consensus is the chain's word, not ours."""
        return weight(await self._hub.score(each.worker))

    async def _reveal_deadline(self, each: TaskConsensus, task: Task) -> int:
        if each.at.timestamp:
            return each.at.timestamp + task.deal.reveal_period
        known = await self._hub.task(each.task)
        return known.reveal_deadline if known else 0


def _told(answer: Any) -> Any:
    """What a node answered in a batch; raises its error."""
    if isinstance(answer, RpcError):
        raise answer
    return answer


def _about(told: Any) -> list[TaskLog]:
    """What a node tells of a task."""
    known = (decode(raw) for raw in told)
    return [each for each in known if isinstance(each, TaskLog)]


def _opened(told: list[TaskLog]) -> bool:
    return any(isinstance(each, TaskInitialize) for each in told)


def plain_fact(
    each: TaskInitialize | TaskReveal | TaskReopen | TaskFinalize | TaskClaimed,
) -> Fact:
    """The fact of a log that tells everything by itself."""
    match each:
        case TaskInitialize():
            return Initialized()
        case TaskReveal(worker=worker, digest=digest):
            return Revealed(worker, digest)
        case TaskReopen():
            return Reopened()
        case TaskFinalize(results=results):
            return Finalized(results[:_LINK_LIMIT].decode(errors="replace"))
        case TaskClaimed():
            return Claimed()
