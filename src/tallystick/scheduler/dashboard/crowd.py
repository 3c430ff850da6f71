"""The workers of a pool, found by name, state or machine, in the order that somebody wants."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from anyio.lowlevel import checkpoint

from tallystick.poco.values import Address
from tallystick.scheduler.dashboard.board import Outcome, Record
from tallystick.scheduler.dashboard.standings import Standing

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams

    from tallystick.scheduler.dashboard.place import Dashboard
    from tallystick.wire.scheduler import WorkerModel

PAGE: Final = 50
"""Workers of one page."""
_STRIDE: Final = 1_000
_GOOD_FOR: Final = 1.0
"""Seconds."""
_LONGEST: Final = 100
"""Characters of a search."""


@dataclass(frozen=True, slots=True)
class Member:
    """One worker."""

    address: Address
    model: WorkerModel
    silence: float
    """Seconds since it was heard."""
    state: str
    """One of STATES."""
    busy: int
    record: Record
    standing: Standing | None


STATES: Final[Mapping[str, str]] = {
    "alive": "alive",
    "working": "working",
    "idle": "idle",
    "lost": "lost",
    "blocked": "blocked",
}
SORTS: Final[Mapping[str, tuple[str, Callable[[Member], Any], bool]]] = {
    "name": ("Name", lambda m: m.model.name.casefold(), False),
    "heard": ("Last ping", lambda m: m.silence, False),
    "busy": ("Slots", lambda m: (m.busy, m.model.slots), True),
    "score": ("Score", lambda m: m.standing.score if m.standing else -1, True),
    "rate": ("Success", lambda m: (m.record.rate or 0.0, m.record.votes), True),
    "tasks": ("Completed", lambda m: m.record.outcomes[Outcome.COMPLETED], True),
    "stake": ("Stake", lambda m: _deposit(m.standing), True),
    "paid": ("Earned here", lambda m: m.record.paid, True),
}
"""By its word in a query: the title, what is compared, and whether the most comes first."""
MACHINES: Final[Mapping[str, Callable[[WorkerModel], bool]]] = {
    "tee": lambda model: model.tee_enabled,
    "tdx": lambda model: model.tdx_enabled,
    "gpu": lambda model: model.gpu_enabled,
}


def _deposit(standing: Standing | None) -> int:
    return standing.free + standing.locked if standing else -1


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants to see of the workers. Whatever is not understood is left out."""

    q: str = ""
    state: str = ""
    machine: str = ""
    sort: str = "heard"
    turned: bool = False
    """The other way round."""
    page: int = 1

    @staticmethod
    def of(query: QueryParams) -> Wish:
        """What a request asks for."""
        state, machine, sort = (query.get(name, "") for name in ("state", "machine", "sort"))
        number = query.get("page", "")
        return Wish(
            q=query.get("q", "").strip()[:_LONGEST],
            state=state if state in STATES else "",
            machine=machine if machine in MACHINES else "",
            sort=sort if sort in SORTS else "heard",
            turned=query.get("turned") == "1",
            page=max(1, int(number)) if number.isascii() and number.isdigit() else 1,
        )

    @property
    def query(self) -> str:
        """The query that asks for this, with its question mark; "" for what is usual."""
        told = {
            "q": self.q,
            "state": self.state,
            "machine": self.machine,
            "sort": "" if self.sort == "heard" else self.sort,
            "turned": "1" if self.turned else "",
            "page": self.page if self.page > 1 else "",
        }
        words = urlencode({name: value for name, value in told.items() if value})
        return f"?{words}" if words else ""

    def sorted_by(self, sort: str) -> Wish:
        """The same by something else; by the same thing again, the other way round."""
        return replace(self, sort=sort, turned=sort == self.sort and not self.turned, page=1)

    def at(self, page: int) -> Wish:
        """Another page of it."""
        return replace(self, page=page)

    def takes(self, member: Member) -> bool:
        """Whether this worker is wanted."""
        return (
            _in_state(member, self.state)
            and (not self.machine or MACHINES[self.machine](member.model))
            and (not self.q or self._found(member))
        )

    def _found(self, member: Member) -> bool:
        sought = self.q.casefold()
        said = (member.model.name, str(member.address), member.model.os, member.model.cpu)
        return any(sought in text.casefold() for text in said)

    def ordered(self, members: Iterable[Member]) -> list[Member]:
        """Those that are wanted, in the order that is."""
        _, key, most_first = SORTS[self.sort]
        chosen = [member for member in members if self.takes(member)]
        return sorted(chosen, key=key, reverse=most_first is not self.turned)


def _in_state(member: Member, state: str) -> bool:
    if state == "alive":
        return member.state not in ("lost", "blocked")
    return not state or member.state == state


@dataclass(slots=True)
class Crowd:
    """Every worker that ever registered, looked at no more than once a second."""

    place: Dashboard
    _found: list[Member] = field(default_factory=list[Member])
    _looked: float = float("-inf")

    async def members(self) -> list[Member]:
        """As they are now, or were a moment ago. Others are served meanwhile."""
        if time.monotonic() < self._looked + _GOOD_FOR:
            return self._found
        await self.place.board.refresh()
        found = []
        for number, (worker, model, silence) in enumerate(list(self.place.pool.roster)):
            found.append(self.member(worker, model, silence))
            if number % _STRIDE == 0:
                await checkpoint()
        self._found, self._looked = found, time.monotonic()
        return found

    def member(self, worker: Address, model: WorkerModel, silence: float) -> Member:
        """One worker as it is."""
        place = self.place
        busy = place.pool.openings.busy(worker)
        if place.admission.is_blocked(worker):
            state = "blocked"
        elif silence >= place.config.lost_after or place.pool.roster.has_left(worker):
            state = "lost"
        else:
            state = "working" if busy else "idle"
        record, standing = place.board.record(str(worker)), place.standings.known(worker)
        return Member(worker, model, silence, state, busy, record, standing)
