"""Following a task until it has ended: the chain decides, the scheduler tells the details."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import anyio

from tallystick.chain.heads import blocks
from tallystick.chain.records import ChainTask, Head
from tallystick.engine.errors import Unavailable
from tallystick.poco.deal import Deal
from tallystick.poco.values import TaskId
from tallystick.requester import task_api
from tallystick.requester.news import End, OnChain, Silent, Tell, Told
from tallystick.requester.session import Session

PATIENCE = 0.3
"""Seconds until a scheduler that does not answer, or know the task yet, is asked again."""

NO_BLOCK = 30.0
"""Seconds without a block after which somebody should look at the node."""

GRACE = 30
"""Seconds after the final deadline in which the scheduler may still claim the task."""

LAST_WORDS = 2.0
"""Seconds that the scheduler has to tell how a task ended that has ended on chain."""


async def follow(session: Session, task: TaskId, deal: Deal, tell: Tell) -> End:
    """Report all news of `task` until it has ended on chain, or should have.

    Silence of the scheduler, or of the node, is news as well; both may come back.
    """
    listener = _Listener(session, task, tell)
    async with anyio.create_task_group() as reading:
        reading.start_soon(listener.listen)
        end = await _Watch(session, task, deal, tell).until_the_end()
        reading.cancel_scope.cancel()
    await listener.last_words()
    return end


class _Watch:
    """Looks at a task in every new block."""

    def __init__(self, session: Session, task: TaskId, deal: Deal, tell: Tell) -> None:
        self._session, self._task, self._deal, self._tell = session, task, deal, tell
        self._state: str | None = None

    async def until_the_end(self) -> End:
        place = self._session.place
        async with aclosing(blocks(self._session.rpc, place.ws_url)) as heads:
            while True:
                head = await self._next(heads)
                try:
                    found = await self._session.hub.task(self._task)
                except Unavailable as trouble:
                    self._tell(Silent(self._task, str(trouble)))
                    continue
                if (end := self._judge(found, head)) is not None:
                    return end

    async def _next(self, heads: AsyncIterator[Head]) -> Head:
        async with anyio.create_task_group() as waiting:
            waiting.start_soon(self._grow_impatient)
            head = await anext(heads)
            waiting.cancel_scope.cancel()
        return head

    async def _grow_impatient(self) -> None:
        await anyio.sleep(NO_BLOCK)
        self._tell(Silent(self._task, f"There was no new block for {NO_BLOCK:.0f} seconds."))

    def _judge(self, found: ChainTask | None, head: Head) -> End | None:
        state = found.state.name if found else "UNSET"
        if state != self._state:
            self._tell(OnChain(self._task, state, head.number))
            self._state = state
        if state in (End.COMPLETED, End.FAILED):
            return End(state)
        return End.OVERDUE if head.timestamp >= self._deal.final_deadline + GRACE else None


class _Listener:
    """Reads the scheduler's story as it grows; its silence is reported once."""

    def __init__(self, session: Session, task: TaskId, tell: Tell) -> None:
        self._session, self._task, self._tell = session, task, tell
        self._after = 0

    async def listen(self) -> None:
        silent = False
        while True:
            try:
                known = await self._read(wait=task_api.LONG_POLL)
                silent = False
            except Unavailable as trouble:
                known = False
                if not silent:
                    self._tell(Silent(self._task, str(trouble)))
                silent = True
            if not known:
                await anyio.sleep(PATIENCE)

    async def last_words(self) -> None:
        """How the replicates stand now that the chain has spoken."""
        try:
            with anyio.move_on_after(LAST_WORDS):
                await self._read(wait=0)
        except Unavailable:
            return

    async def _read(self, *, wait: float) -> bool:
        story = await task_api.story(self._session, self._task, after=self._after, wait=wait)
        if story is not None:
            self._after = story.next
            self._tell(Told(self._task, story))
        return story is not None
