"""Waking other processes, and being woken. A lost call costs a second: everybody looks anyway.

Needs the extra `tallystick[postgres]`: load it through `engine.databases` only.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import psycopg

from tallystick.engine.complaints import Complaints
from tallystick.engine.databases import DatabaseGone
from tallystick.engine.postgres_link import conninfo_of, shown
from tallystick.engine.pulse import Pulse

log = logging.getLogger(__name__)

_CHANNEL: Final = "tallystick"
REFOLD: Final = "refold"
"""The call that facts of a shard, which is named, do not hold any more, or hold again."""
LOOK: Final = 1.0
"""Seconds between two looks when nobody calls."""


class Bell:
    """One channel for all processes of a pool; what is called is the name of what changed."""

    def __init__(self, url: str) -> None:
        self._url, self._complaints = url, Complaints(log)
        self._wakes: dict[str, Pulse] = {}
        self._hear: list[Callable[[str], None]] = []
        self._wanted: set[str] = set()
        self._rung = Pulse()

    def ring(self, what: str) -> None:
        """Call everybody, soon; calls of the same kind at once are one."""
        self._wanted.add(what)
        self._rung.beat()

    def pulse(self, what: str) -> Pulse:
        """What beats at each call of this kind, and when calls may have been lost."""
        return self._wakes.setdefault(what, Pulse())

    def hear(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with every call; with an empty one when calls may have been lost."""
        self._hear.append(listener)

    async def run(self) -> None:
        """Carry calls both ways until cancelled."""
        while True:
            try:
                async with self._connected() as db, anyio.create_task_group() as both:
                    both.start_soon(self._call, db)
                    self._tell("")
                    async with self._connected() as ear:
                        await ear.execute(f"LISTEN {_CHANNEL}")
                        self._tell("")
                        async for call in ear.notifies():
                            self._tell(call.payload)
                    both.cancel_scope.cancel()
            except* (psycopg.Error, OSError, DatabaseGone) as trouble:
                self._complaints.about("The calls of other schedulers", trouble.exceptions[0])
            await anyio.sleep(LOOK)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        whole = conninfo_of(self._url, f"tallystick bell of {shown(self._url)}")
        db = await psycopg.AsyncConnection.connect(whole, autocommit=True)
        try:
            yield db
        finally:
            await (
                db.close()
            )  # without the rollback that `async with` tries, and is cancelled in

    async def _call(self, db: psycopg.AsyncConnection[Any]) -> None:
        seen = -1
        while True:
            seen = await self._rung.next(seen)
            wanted, self._wanted = self._wanted, set()
            for what in wanted:
                await db.execute("SELECT pg_notify(%s, %s)", (_CHANNEL, what))

    def _tell(self, what: str) -> None:
        for kind, pulse in self._wakes.items():
            if not what or what.partition(" ")[0] == kind:
                pulse.beat()
        for listener in self._hear:
            listener(what)
