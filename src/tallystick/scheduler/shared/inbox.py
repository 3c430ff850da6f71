"""What came to a process that does not own the task: written down, done by the owner, answered.

The row is what counts. Calls only wake; everybody looks once a second as well. When the owner
dies the next one finds the row; so whatever is asked has to be safe to begin twice.

Needs the extra `tallystick[postgres]`: load it through `engine.databases` only.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final

import anyio

from tallystick.engine.complaints import Complaints
from tallystick.engine.errors import Unavailable
from tallystick.engine.postgres_link import Link
from tallystick.scheduler.shared.bell import LOOK, Bell

log = logging.getLogger(__name__)

SENDER: Final = -1
"""In place of a shard: for whoever sends what the wallet signs."""
PATIENCE: Final = 10.0
"""Seconds that the owner has to answer."""

_PUT: Final = """
INSERT INTO inbox (shard, kind, body) VALUES (%s, %s, %s) RETURNING id"""
_OPEN: Final = """
SELECT id, kind, body FROM inbox
WHERE answer IS NULL AND shard = ANY(%s::smallint[]) AND NOT id = ANY(%s::bigint[])
ORDER BY id LIMIT 1000"""
_ANSWER: Final = """
UPDATE inbox SET answer = %s WHERE id = %s AND answer IS NULL"""
_ANSWERS: Final = """
DELETE FROM inbox WHERE id = ANY(%s::bigint[]) AND answer IS NOT NULL RETURNING id, answer"""
_TAKE_BACK: Final = "DELETE FROM inbox WHERE id = %s"
_FORGET: Final = """
DELETE FROM inbox WHERE at < clock_timestamp() - interval '10 minutes' AND answer IS NOT NULL"""

Doer = Callable[[Any], Awaitable[Any]]
"""Does what a body asks for; None: not now, and then it stays for a later look."""


class NoAnswer(Unavailable):
    """The owner of a task did not answer in time: it may have died a moment ago."""


class Inbox:
    """Both ends of it, of one process."""

    def __init__(self, link: Link, bell: Bell, mine: Callable[[], Collection[int]]) -> None:
        """`mine`: the shards whose rows this process answers."""
        self._link, self._bell, self._mine = link, bell, mine
        self._doers: dict[str, Doer] = {}
        self._waiting: dict[int, tuple[anyio.Event, list[Any]]] = {}
        self._doing: set[int] = set()
        self._complaints = Complaints(log)
        self._news = bell.pulse("inbox")
        self._answered = bell.pulse("answer")

    def does(self, kind: str, doer: Doer) -> None:
        """Have `doer` do what is asked under `kind`. It may be asked twice."""
        self._doers[kind] = doer

    async def ask(self, shard: int, kind: str, body: Any, patience: float = PATIENCE) -> Any:
        """What the owner of `shard` answers. Raises NoAnswer after `patience` seconds, and
        then, or when cancelled, the question is taken back."""
        ((id,),) = self._link.rows(_PUT, (shard, kind, json.dumps(body)))
        done, found = self._waiting[id] = (anyio.Event(), list[Any]())
        self._bell.ring("inbox")
        try:
            with anyio.move_on_after(patience):
                await done.wait()
                return found[0]
            raise NoAnswer(f"Nobody who owns shard {shard} has answered yet: ask again.")
        finally:
            del self._waiting[id]
            if not found:
                self._take_back(id)

    async def run(self) -> None:
        """Do what others ask, and hear their answers, until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._hear)
            seen = -1
            while True:
                self._attempt("Questions of other schedulers", lambda: self._begin(tasks))
                seen = await self._news.next(seen, LOOK)

    async def _hear(self) -> None:
        seen = -1
        while True:
            self._attempt("Answers of other schedulers", self._gather)
            seen = await self._answered.next(seen, LOOK)

    def _begin(self, tasks: anyio.abc.TaskGroup) -> None:
        for id, kind, body in self._link.rows(_OPEN, (list(self._mine()), list(self._doing))):
            self._doing.add(id)
            tasks.start_soon(self._do, id, self._doers[kind], json.loads(body))

    async def _do(self, id: int, doer: Doer, body: Any) -> None:
        try:
            answer = await doer(body)
            if answer is not None:
                self._link.rows(_ANSWER, (json.dumps(answer), id))
                self._bell.ring("answer")
        except Unavailable as trouble:
            self._complaints.about("A question of another scheduler", trouble)
            await anyio.sleep(LOOK)
        finally:
            self._doing.discard(id)

    def _gather(self) -> None:
        if not self._waiting:
            return
        for id, answer in self._link.rows(_ANSWERS, (list(self._waiting),)):
            done, found = self._waiting[id]
            found.append(json.loads(answer))
            done.set()
        self._link.rows(_FORGET)

    def _take_back(self, id: int) -> None:
        self._attempt("A question", lambda: self._link.rows(_TAKE_BACK, (id,)))

    def _attempt(self, what: str, act: Callable[[], object]) -> None:
        try:
            act()
        except Unavailable as trouble:
            self._complaints.about(what, trouble)
        else:
            self._complaints.over(what)
