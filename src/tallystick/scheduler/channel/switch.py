"""Brings together who listens and what is said."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from tallystick.poco.values import TaskId
from tallystick.scheduler.channel.sessions import Session, Sessions
from tallystick.scheduler.channel.talk import Books, Talk
from tallystick.wire import sockjs

Elsewhere = Callable[[str, list[str]], Awaitable[bool]]
"""Hands what a client sent to the process that has its session; whether one had it."""


async def nowhere(session: str, messages: list[str]) -> bool:
    """There is no other process."""
    return False


class Switch:
    """The sessions of this process and the tasks that they follow."""

    def __init__(self, books: Books, clock: Callable[[], float] = time.monotonic) -> None:
        self.sessions = Sessions(clock)
        self.elsewhere: Elsewhere = nowhere
        self._books, self._clock = books, clock
        self._followers: dict[str, set[Session]] = {}
        """By task, those who follow it."""
        self._closed = False

    def join(self, id: str, host: str) -> Session | None:
        """The session of this name, old or new, for somebody who receives now; None while
        another does. Raises Full."""
        session = self.sessions.find(id)
        if session is not None and session.receiving:
            return None
        if session is None:
            self.sessions.forget_idle(every=1.0)
            session = self.sessions.open(id, host)
            session.speaker = Talk(
                session, books=self._books, clock=self._clock, followed=self._follow
            )
        session.receiving = True
        if self._closed:
            session.end(sockjs.GONE)
        return session

    def leave(self, session: Session, *, for_good: bool = False) -> None:
        """Nobody receives any more; unless it is `for_good` somebody may come back."""
        session.released()
        if for_good or session.ended is not None:
            self.sessions.drop(session)

    async def deliver(self, id: str, messages: list[str]) -> bool:
        """A client said this; False when nobody knows its session."""
        return self.deliver_here(id, messages) or await self.elsewhere(id, messages)

    def deliver_here(self, id: str, messages: list[str]) -> bool:
        """The same, for sessions of this process."""
        session = self.sessions.find(id)
        if session is None or session.speaker is None:
            return False
        session.speaker.hear(messages)
        return True

    def changed(self, stream: str) -> None:
        """A task is another one: who follows it may have to be told."""
        for session in self._followers.get(stream, ()):
            session.wake()

    def wake_all(self) -> None:
        """Everybody may have to be told something."""
        for session in self.sessions:
            session.wake()

    def close(self) -> None:
        """The scheduler ends: so do all sessions, and workers look for another process."""
        self._closed = True
        for session in self.sessions:
            session.end(sockjs.GONE)

    def _follow(self, session: Session, task: TaskId, begins: bool) -> None:
        followers = self._followers.setdefault(str(task), set())
        if begins:
            followers.add(session)
        else:
            followers.discard(session)
        if not followers:
            del self._followers[str(task)]
