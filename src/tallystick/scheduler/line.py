"""Workers that wait for work, longest first, and whose turn it is when there is some."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tallystick.engine.bells import Bells, HangUp
from tallystick.poco.values import Address, Tag, TaskId


@dataclass(frozen=True, slots=True)
class Machine:
    """What a worker can do, of which many others can do the same."""

    offers: Tag
    memory: int
    unstaked: bool


@dataclass(slots=True, eq=False)
class Place:
    """One request that waits for work."""

    worker: Address
    unstaked: bool
    """Whether it would contribute and finalize at once."""
    looked: int = -1
    """What was the newest opening when it looked at all of them."""
    short: bool = False
    """Whether only money kept it from one."""
    called_for: TaskId | None = None
    """The opening that it is to look at now."""


class Line:
    """A place waits among those of machines like its own, so that a task that few can serve is
    compared with few."""

    def __init__(self) -> None:
        self._queues: dict[Machine, dict[Place, None]] = {}
        self._of: dict[Address, set[Place]] = {}
        self._bells = Bells[Place]()

    @property
    def closed(self) -> bool:
        """Nobody should wait."""
        return self._bells.closed

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def has(self, worker: Address) -> bool:
        """Whether this worker waits."""
        return worker in self._of

    async def wait(self, place: Place, machine: Machine, ends: float, hung_up: HangUp) -> bool:
        """Stand in line until called, or until `ends` by the event loop's clock; False when
        whoever asked has gone."""
        self._queues.setdefault(machine, {})[place] = None
        self._of.setdefault(place.worker, set()).add(place)
        try:
            return await self._bells.wait(place, ends, hung_up)
        finally:
            self._leave(place, machine)

    def waiting(self, able: Callable[[Machine], bool]) -> Iterator[Place]:
        """Who waits with such a machine, longest first among equals."""
        for machine, queue in list(self._queues.items()):
            if able(machine):
                yield from queue

    def call(self, place: Place) -> None:
        """It is to look again."""
        self._bells.ring(place)

    def ring(self, worker: Address) -> None:
        """Something changed for this worker."""
        for place in list(self._of.get(worker, ())):
            self._bells.ring(place)

    def ring_short(self) -> None:
        """Those whom only money kept from work may have it by now."""
        for queue in list(self._queues.values()):
            for place in [each for each in queue if each.short]:
                self._bells.ring(place)

    def close(self) -> None:
        """Let everybody go, now and from now on."""
        self._bells.close()

    def _leave(self, place: Place, machine: Machine) -> None:
        queue = self._queues[machine]
        del queue[place]
        if not queue:
            del self._queues[machine]
        places = self._of[place.worker]
        places.discard(place)
        if not places:
            del self._of[place.worker]
