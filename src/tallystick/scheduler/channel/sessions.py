"""The sessions of the channel: who listens, for how long, and how many there may be."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Hashable, Iterator
from typing import Final, Protocol, TypeVar
from zlib import crc32

import anyio

from tallystick.wire import sockjs

MOST: Final = 20_000
"""Sessions at once."""
MOST_AN_ADDRESS: Final = 200
"""Of them from one address; the loopback, where a proxy may be, is not counted."""
_MOST_WAITING: Final = 1 << 20
"""Characters that wait for a client which does not receive."""
_ADDRESSES: Final = 1_000
"""Numbers by which processes ask each other for a session: few, since each names all of its
own with every look; the session's name then decides."""


K = TypeVar("K", bound=Hashable)


class Full(Exception):
    """There are too many sessions, of all or of this address."""


class Speaker(Protocol):
    """What is spoken in a session."""

    def hear(self, messages: list[str]) -> None:
        """The client said this."""

    def look(self) -> None:
        """Time has passed, or something changed: say what is to be said."""

    def leave(self) -> None:
        """The session is over."""


class Session:
    """One client. It lives as long as somebody receives, and a moment longer."""

    def __init__(self, id: str, host: str, clock: Callable[[], float]) -> None:
        self.id, self.host = id, host
        self.receiving = False
        self.speaker: Speaker | None = None
        self.ended: tuple[int, str] | None = None
        """Why it is over, once it is."""
        self._clock, self._opened = clock, False
        self._idle_since = clock()
        self._waiting: deque[str] = deque()
        self._size = 0
        self._wake = anyio.Event()

    def say(self, message: str) -> None:
        """Have the client told this. A client that receives nothing is given up."""
        self._size += len(message)
        self._waiting.append(message)
        if self._size > _MOST_WAITING:
            self.end(sockjs.GONE)
        self.wake()

    def end(self, why: tuple[int, str]) -> None:
        """Close it, after what was said."""
        self.ended = self.ended or why
        self.wake()

    def wake(self) -> None:
        """There may be something to say."""
        self._wake.set()

    def idle(self) -> float:
        """Seconds since somebody received."""
        return 0.0 if self.receiving else self._clock() - self._idle_since

    def released(self) -> None:
        """Whoever received does so no more."""
        self.receiving, self._idle_since = False, self._clock()

    async def frame(self, single: bool = False) -> str:
        """The next frame, a heartbeat at last. `single`: of one message at most."""
        if not self._opened:
            self._opened = True
            return sockjs.OPEN
        with anyio.move_on_after(sockjs.HEARTBEAT_SECONDS):
            while not self._ready():
                self._wake = anyio.Event()
                await self._wake.wait()
        if not self._ready():
            return sockjs.HEARTBEAT
        if self._waiting:
            return sockjs.carried(self._taken(single))
        assert self.ended is not None
        return sockjs.closed(self.ended)

    def _ready(self) -> bool:
        if self.speaker is not None and self.ended is None:
            self.speaker.look()
        return bool(self._waiting) or self.ended is not None

    def _taken(self, single: bool) -> list[str]:
        count = 1 if single else len(self._waiting)
        taken = [self._waiting.popleft() for _ in range(count)]
        self._size -= sum(map(len, taken))
        return taken


class Sessions:
    """All of one process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, Session] = {}
        self._swept = clock()
        self._hosts: Counter[str] = Counter()
        self._addresses: Counter[int] = Counter()

    def find(self, id: str) -> Session | None:
        """The session of this name, unless nobody has received for too long."""
        found = self._known.get(id)
        if found is not None and found.idle() > sockjs.REJOIN_SECONDS:
            self.drop(found)
            return None
        return found

    def open(self, id: str, host: str) -> Session:
        """A new session; `host` is where its client is, empty on this machine. Raises Full."""
        if len(self._known) >= MOST or (host and self._hosts[host] >= MOST_AN_ADDRESS):
            self.forget_idle()
        if len(self._known) >= MOST or (host and self._hosts[host] >= MOST_AN_ADDRESS):
            raise Full("There are too many sessions already: ask again later.")
        made = self._known[id] = Session(id, host, self._clock)
        self._hosts[host] += 1
        self._addresses[address_of(id)] += 1
        return made

    def drop(self, session: Session) -> None:
        """The session is over."""
        if self._known.get(session.id) is not session:
            return
        del self._known[session.id]
        _less(self._hosts, session.host)
        _less(self._addresses, address_of(session.id))
        if session.speaker is not None:
            session.speaker.leave()

    def forget_idle(self, every: float = 0.0) -> None:
        """Drop those whose clients are gone, unless that was done within `every` seconds."""
        if self._clock() < self._swept + every:
            return
        self._swept = self._clock()
        for session in list(self._known.values()):
            if session.idle() > sockjs.REJOIN_SECONDS:
                self.drop(session)

    def addresses(self) -> Collection[int]:
        """By which numbers other processes may ask for one of these."""
        return self._addresses.keys()

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._known.values()))

    def __len__(self) -> int:
        return len(self._known)


def address_of(session: str) -> int:
    """The number by which the process with this session is asked; it is below all shards."""
    return -2 - crc32(session.encode()) % _ADDRESSES


def _less(counted: Counter[K], key: K) -> None:
    """One less; what is counted no more is forgotten."""
    counted[key] -= 1
    if not counted[key]:
        del counted[key]
