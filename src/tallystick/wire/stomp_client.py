"""The client's end of the notification channel: topics are followed over session after session.

Who subscribes gets no receipt, and what is said while nobody listens is lost: so whoever uses
this must be able to do without any single notification.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from tallystick.engine.complaints import Complaints
from tallystick.engine.errors import Unavailable, printable
from tallystick.engine.pulse import Pulse
from tallystick.engine.trust import Authority
from tallystick.wire.sockjs_client import SILENCE, Endpoint, Session, SessionOver
from tallystick.wire.stomp import BadFrame, Frame, Reader

log = logging.getLogger(__name__)

CONNECT_SECONDS: Final = 15.0
"""Within which a session must be there, as v9 workers have it."""
BEAT_MS: Final = 10_000
"""Milliseconds between two of our heartbeats, if the server wants any."""
_PAUSES: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 15.0)
"""Seconds before another session is tried, the longer the more have failed."""
_LONGEST: Final = 1 << 20

Heard = Callable[[str, str], Awaitable[None]]
"""Is told topic and body of each notification."""


class Channel:
    """The topics that are followed. `keep` has to run for anything to be heard."""

    def __init__(
        self, url: str, heard: Heard, *, ca: Authority = None, silence: float = SILENCE
    ) -> None:
        """`url` is the SockJS endpoint."""
        self._url, self._ca, self._silence, self._heard = url, ca, silence, heard
        self._wanted: set[str] = set()
        self._wishes, self.changes = Pulse(), Pulse()
        self._talk: _Talk | None = None
        self._complaints = Complaints(log)
        self.sessions = 0
        """How many there were, up to the present one."""

    @property
    def up(self) -> bool:
        """Whether there is a session now."""
        return self._talk is not None and self._talk.up

    def follow(self, topic: str) -> None:
        """Hear what is said there, as soon as there is a session, and in every later one."""
        self._wanted.add(topic)
        self._wishes.beat()

    def follow_only(self, topics: set[str]) -> None:
        """The same for these, and hear no more of any other."""
        if topics != self._wanted:
            self._wanted = set(topics)
            self._wishes.beat()

    async def followed(self, topic: str, patience: float) -> bool:
        """Wait until `topic` is subscribed; whether it was within `patience` seconds."""
        with anyio.move_on_after(patience):
            while self._talk is None or topic not in self._talk.numbers:
                await self.changes.next(self.changes.count)
            return True
        return False

    async def keep(self) -> None:
        """Have a session, and the next one when it is over, until cancelled."""
        failures = 0
        async with Endpoint(self._url, ca=self._ca, silence=self._silence) as endpoint:
            while True:
                before = self.sessions
                try:
                    await self._session(await endpoint.session())
                except (Unavailable, BadFrame) as end:
                    self._complaints.about("Notifications of the scheduler", end)
                finally:
                    self._talk = None
                failures = 0 if self.sessions > before else failures + 1
                await anyio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])

    async def _session(self, session: Session) -> None:
        """One session, to its end. Raises Unavailable, BadFrame."""
        talk, end = _Talk(session, self._heard), list[Exception]()
        async with anyio.create_task_group() as tasks:

            async def part(work: Callable[[], Awaitable[None]]) -> None:
                try:
                    await work()
                except (Unavailable, BadFrame) as trouble:
                    end.append(trouble)
                    tasks.cancel_scope.cancel()

            async def speak() -> None:
                await self._speak(talk)

            async def listen() -> None:
                await session.listen(talk)

            tasks.start_soon(part, listen)
            tasks.start_soon(part, speak)
            tasks.start_soon(part, talk.beat)
        raise end[0] if end else SessionOver("The session ended.")

    async def _speak(self, talk: _Talk) -> None:
        """Subscribe to what is wanted, now and later."""
        with anyio.move_on_after(CONNECT_SECONDS):
            await talk.connected.wait()
        if not talk.up:
            raise SessionOver(f"There was no session within {CONNECT_SECONDS:g} s.")
        self._talk = talk
        self._complaints.over("Notifications of the scheduler")
        self.sessions += 1
        while True:
            seen = self._wishes.count
            await talk.agree(self._wanted)
            self.changes.beat()
            await self._wishes.next(seen)


class _Talk:
    """STOMP in one session."""

    def __init__(self, session: Session, heard: Heard) -> None:
        self._session, self._heard = session, heard
        self._reader, self._count = Reader(_LONGEST), 0
        self.connected, self._every = anyio.Event(), 0.0
        self.numbers: dict[str, str] = {}
        """The subscription of each topic."""

    @property
    def up(self) -> bool:
        """Whether the server has answered."""
        return self.connected.is_set()

    async def opened(self) -> None:
        """Introduce ourselves."""
        headers = {"accept-version": "1.1,1.2", "heart-beat": f"{BEAT_MS},{BEAT_MS}"}
        await self._say(Frame("CONNECT", headers))

    async def heard(self, message: str) -> None:
        """Some text: frames, or parts of them. Raises BadFrame, SessionOver."""
        for frame in self._reader.frames(message):
            await self._take(frame)

    async def beat(self) -> None:
        """Send heartbeats, if the server asked for them."""
        await self.connected.wait()
        while self._every:
            await anyio.sleep(self._every)
            await self._session.send("\n")

    async def agree(self, wanted: set[str]) -> None:
        """Subscribe and unsubscribe, until what is heard is what is wanted."""
        for topic in sorted(wanted - self.numbers.keys()):
            number = str(self._count)
            self._count += 1
            headers = {"id": number, "destination": topic}
            await self._say(Frame("SUBSCRIBE", headers))
            self.numbers[topic] = number
        for topic in sorted(self.numbers.keys() - wanted):
            await self._say(Frame("UNSUBSCRIBE", {"id": self.numbers.pop(topic)}))

    async def _take(self, frame: Frame) -> None:
        match frame.command:
            case "CONNECTED":
                self._every = _our_beat(frame.headers.get("heart-beat", "0,0"))
                self.connected.set()
            case "MESSAGE":
                await self._message(frame)
            case "ERROR":
                said = printable(frame.headers.get("message", "") or frame.body)
                raise SessionOver(f"The server reports an error: {said}.")
            case _:
                log.debug("A frame %s of the scheduler is passed over.", frame.command)

    async def _message(self, frame: Frame) -> None:
        number = frame.headers.get("subscription", "")
        topic = next((t for t, known in self.numbers.items() if known == number), None)
        if topic is None:  # unsubscribed meanwhile, or being subscribed this moment
            topic = frame.headers.get("destination", "")
        kind = frame.headers.get("content-type", "application/json")
        if kind.partition(";")[0].strip() == "application/json":
            await self._heard(topic, frame.body)

    async def _say(self, frame: Frame) -> None:
        await self._session.send(frame.encoded())


def _our_beat(told: str) -> float:
    """Seconds between our heartbeats; 0 for none."""
    _, _, wants = told.partition(",")
    if not wants.strip().isdecimal() or int(wants[:9]) == 0:
        return 0.0
    return max(BEAT_MS, int(wants[:9])) / 1000
