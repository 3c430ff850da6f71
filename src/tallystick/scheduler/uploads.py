"""Whether a result is where a worker says it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tallystick.engine.errors import Refused
from tallystick.lifecycle.task import Task
from tallystick.poco.params import parse_params
from tallystick.poco.values import TaskId
from tallystick.storage.addresses import AddressRefused, require_public
from tallystick.wire.results import ResultsClient, parse_link


@dataclass(frozen=True, slots=True)
class Uploads:
    """Looks into the store that the deal names, else into the pool's."""

    tasks: Mapping[str, Task]
    store: ResultsClient
    """The pool's."""

    async def has(self, task: TaskId, link: str) -> bool:
        """Whether the store has the result of `task` at `link`. Raises Unavailable."""
        said = parse_link(link.encode())
        if said is None:
            return False
        try:
            return await self._location(task) == said.location
        except (Refused, AddressRefused):
            return False

    async def _location(self, task: TaskId) -> str | None:
        known = self.tasks.get(str(task))
        named = parse_params(known.deal.params).storage_proxy if known else None
        if not named or named.rstrip("/") == self.store.url:
            return await self.store.location(task)
        # A requester chose it: it must not lead into the pool's own network.
        await require_public(named)
        async with ResultsClient(named) as elsewhere:
            return await elsewhere.location(task)
