"""What is said in a session: STOMP, as far as v9 workers speak it with their scheduler."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from tallystick.poco.values import Address, TaskId
from tallystick.scheduler.channel.notice import Notice
from tallystick.wire import sockjs
from tallystick.wire.stomp import BadFrame, Frame, Reader, message

if TYPE_CHECKING:
    from tallystick.scheduler.channel.sessions import Session

FIRST_FRAME: Final = 60.0
"""Seconds within which a client has to connect."""
GRACE: Final = 4.0
"""Seconds after a subscription before what was owed already is told: a worker that comes back
may have heard of it, and is about to say so."""
REMIND: Final = 60.0
"""Seconds after which what is still owed is told again."""
MOST_TOPICS: Final = 500
"""Subscriptions of a session."""
TOPIC: Final = re.compile(r"/topic/task/(0x[0-9a-f]{64})")
_NUMBERS = itertools.count(1)


class Books(Protocol):
    """What is known of tasks."""

    def owed(self, task: TaskId) -> Iterable[Notice]:
        """What the workers of a task are to be told now."""
        ...

    def written(self, task: TaskId, word: str, workers: Sequence[Address], cause: str) -> str:
        """A notification for these workers; for all who listen when none is named."""
        ...


@dataclass(slots=True)
class _Subscription:
    id: str
    task: TaskId
    told: dict[Notice, float] = field(default_factory=dict[Notice, float])
    """What was told and is still owed, and since when it may be told again."""


class Talk:
    """One client that speaks STOMP, seen from the scheduler."""

    def __init__(
        self,
        session: Session,
        *,
        books: Books,
        clock: Callable[[], float],
        followed: Callable[[Session, TaskId, bool], None],
    ) -> None:
        """`followed` is told which task the session follows, and then that it does no more."""
        self._session, self._books = session, books
        self._clock, self._followed = clock, followed
        self._reader, self._began = Reader(), clock()
        self._connected = False
        self._subscriptions: dict[str, _Subscription] = {}

    def hear(self, messages: list[str]) -> None:
        """The client said this. What is no STOMP ends the session."""
        try:
            for frame in self._reader.frames("".join(messages)):
                if self._session.ended is None:
                    self._obey(frame)
        except BadFrame as problem:
            self._refuse(str(problem))

    def look(self) -> None:
        """Say what is owed to the workers of the tasks that the client follows."""
        if not self._connected:
            if self._clock() - self._began > FIRST_FRAME:
                self._session.end(sockjs.GONE)
            return
        for subscription in self._subscriptions.values():
            self._tell(subscription)

    def leave(self) -> None:
        """The session is over."""
        for id in list(self._subscriptions):
            self._unsubscribe(id)

    def _obey(self, frame: Frame) -> None:
        match frame.command:
            case "CONNECT" | "STOMP":
                self._connect(frame)
            case _ if not self._connected:
                self._refuse("CONNECT first.")
            case "SUBSCRIBE":
                self._subscribe(frame)
            case "UNSUBSCRIBE":
                self._unsubscribe(frame.headers.get("id", ""))
            case "DISCONNECT":
                if (receipt := frame.headers.get("receipt")) is not None:
                    self._session.say(Frame("RECEIPT", {"receipt-id": receipt}).encoded())
                self._session.end(sockjs.GONE)
            case "SEND":
                self._refuse("Only the scheduler speaks to the topics of its tasks.")
            case "ACK" | "NACK" | "BEGIN" | "COMMIT" | "ABORT":
                return
            case other:
                self._refuse(f"{other} is no command of a client.")

    def _connect(self, frame: Frame) -> None:
        """A client need not name a host, nor say who it is."""
        if self._connected:
            self._refuse("This session is connected already.")
            return
        offered = frame.headers.get("accept-version", "1.2").split(",")
        version = next((v for v in ("1.2", "1.1") if v in offered), None)
        if version is None:
            self._refuse("STOMP 1.1 and 1.2 are spoken here.")
            return
        self._connected = True
        headers = {"version": version, "heart-beat": "0,0"}
        self._session.say(Frame("CONNECTED", headers).encoded())

    def _subscribe(self, frame: Frame) -> None:
        id, topic = frame.headers.get("id", ""), frame.headers.get("destination", "")
        found = TOPIC.fullmatch(topic)
        if not id or found is None:
            self._refuse("A subscription has an id, and /topic/task/… for its destination.")
            return
        if len(self._subscriptions) >= MOST_TOPICS:
            self._refuse(f"A session follows at most {MOST_TOPICS} tasks.")
            return
        self._unsubscribe(id)
        task, before = TaskId(found[1]), self._clock() - REMIND + GRACE
        told = dict.fromkeys(self._books.owed(task), before)
        self._subscriptions[id] = _Subscription(id, task, told)
        self._followed(self._session, task, True)

    def _unsubscribe(self, id: str) -> None:
        subscription = self._subscriptions.pop(id, None)
        if subscription is None:
            return
        if all(each.task != subscription.task for each in self._subscriptions.values()):
            self._followed(self._session, subscription.task, False)

    def _tell(self, subscription: _Subscription) -> None:
        now, told = self._clock(), subscription.told
        owed = list(self._books.owed(subscription.task))
        for gone in told.keys() - set(owed):
            del told[gone]
        due = [notice for notice in owed if now >= told.get(notice, -REMIND) + REMIND]
        told.update(dict.fromkeys(due, now))
        groups: dict[tuple[str, str], list[Address]] = {}
        for notice in due:
            group = groups.setdefault((notice.word, notice.cause or ""), [])
            group += [notice.worker] if notice.worker else []
        for (word, cause), workers in groups.items():
            self._say(
                subscription, self._books.written(subscription.task, word, workers, cause)
            )

    def _say(self, subscription: _Subscription, body: str) -> None:
        frame = message(
            topic=f"/topic/task/{subscription.task}",
            subscription=subscription.id,
            number=f"{self._session.id[:40]}-{next(_NUMBERS)}",
            body=body,
        )
        self._session.say(frame.encoded())

    def _refuse(self, why: str) -> None:
        self._session.say(Frame("ERROR", {"message": why}).encoded())
        self._session.end(sockjs.BROKEN)
