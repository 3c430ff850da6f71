"""What the public routes look at, and who may see what is not for everybody."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Protocol

from fastapi import Depends, Request

from tallystick.lifecycle.facts import Fact, Ordered
from tallystick.poco.signing import BadSignature, recover
from tallystick.poco.values import Address, DealId, Hash, TaskId
from tallystick.scheduler.denials import NotYours
from tallystick.scheduler.logs import LogBook
from tallystick.wire.auth import ReadingChallenges, Unauthorized, log_challenge_hash

if TYPE_CHECKING:
    from tallystick.engine.journal import Entry, Journal
    from tallystick.lifecycle.task import Task
    from tallystick.poco.deal import Deal
    from tallystick.poco.orders import WorkerpoolOrder
    from tallystick.scheduler.pool import Pool


class Offer(Protocol):
    """One signed order that can still be used."""

    @property
    def hash(self) -> Hash:
        """By which the hub knows it."""
        ...

    @property
    def order(self) -> WorkerpoolOrder:
        """What was signed."""
        ...

    @property
    def remaining(self) -> int:
        """Tasks that it can still be used for."""
        ...


class Shelf(Protocol):
    """Where the pool keeps its signed orders."""

    def on_offer(self) -> Sequence[Offer]:
        """Those that requesters may match."""
        ...


class EmptyShelf:
    """A pool that offers nothing."""

    def on_offer(self) -> Sequence[Offer]:
        """None."""
        return ()


@dataclass(slots=True)
class Bag:
    """A deal, and those of its tasks that are known here: it may claim any number."""

    deal: Deal
    streams: dict[str, None] = field(default_factory=dict[str, None])


@dataclass(slots=True)
class Window:
    """What the public routes need."""

    pool: Pool
    journal: Journal[Fact]
    logs: LogBook
    workerpool: Address
    chain_id: int
    lost_after: float
    url: str = ""
    """Where everybody finds this scheduler; empty: where the request went."""
    orders: Shelf = field(default_factory=EmptyShelf)
    challenges: ReadingChallenges = field(default_factory=ReadingChallenges)
    bags: dict[DealId, Bag] = field(default_factory=dict[DealId, Bag])
    """Every deal that was ever heard of."""

    def watch(self) -> None:
        """Know every deal, those of now and those to come."""
        for task in self.pool.tasks():
            self._know(task.deal, str(task.id))
        self.pool.engine.listen(self._heard)

    def _heard(self, entry: Entry[Fact]) -> None:
        if isinstance(entry.fact, Ordered):
            self._know(entry.fact.deal, entry.stream)

    def _know(self, deal: Deal, stream: str) -> None:
        bag = self.bags.setdefault(deal.id, Bag(deal))
        bag.deal = deal
        bag.streams[stream] = None

    def deals(self) -> list[DealId]:
        """Every deal, the newest first, without those that a reorg undid."""
        states = self.pool.engine.states
        held = [id for id, bag in self.bags.items() if any(s in states for s in bag.streams)]
        held.sort(key=lambda id: (self.bags[id].deal.start, id), reverse=True)
        return held

    def newest_first(self, tasks: Iterable[Task]) -> list[Task]:
        """In an order that every process of the pool knows: a next page may be another's."""
        return sorted(tasks, key=_birth, reverse=True)

    def tasks_of(self, deal: DealId) -> Iterator[Task]:
        """The tasks of a deal that are known here."""
        streams = self.bags[deal].streams if deal in self.bags else ()
        found = map(self.pool.engine.states.get, streams)
        return (task for task in found if task is not None)

    def here(self, request: Request) -> str:
        """Where the caller finds this scheduler, with a slash at the end."""
        return f"{self.url.rstrip('/')}/" if self.url else str(request.base_url)

    def require_requester(self, task_id: TaskId, request: Request) -> None:
        """Only who paid for a task may read its logs, and shows it by a header
        `HASH_SIGNATURE_ADDRESS`. Raises Unauthorized, NotYours."""
        parts = request.headers.get("authorization", "").split("_")
        if len(parts) != 3:
            raise Unauthorized(_HOW)
        try:
            asker = Address(parts[2].lower())
            signature = bytes.fromhex(parts[1].removeprefix("0x"))
        except ValueError as problem:
            raise Unauthorized(_HOW) from problem
        task = self.pool.engine.states.get(str(task_id))
        if task is None or asker != task.deal.requester:
            raise NotYours(f"{asker} has not bought {task_id}: only its requester may read it.")
        if not self.has_signed(asker, signature):
            raise Unauthorized(f"That is not the signature of {asker}. {_HOW}")

    def has_signed(self, asker: Address, signature: bytes) -> bool:
        """Whether one of the challenges that `asker` may have got is signed by it."""
        for text in self.challenges.good(asker):
            try:
                if recover(log_challenge_hash(self.chain_id, text), signature) == asker:
                    return True
            except BadSignature:
                continue
        return False


def _birth(task: Task) -> tuple[int, DealId, int]:
    return task.deal.start, task.deal.id, task.index


_HOW = (
    "Get GET /tasks/logs/challenge?address=…, sign it as EIP-712 typed data, and send"
    " Authorization: HASH_SIGNATURE_ADDRESS."
)


async def the_window(request: Request) -> Window:
    """What the routes share."""
    window: Window = request.app.state.window
    return window


TheWindow = Annotated[Window, Depends(the_window)]
