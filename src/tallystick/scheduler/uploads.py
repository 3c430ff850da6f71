"""Whether a result is where a worker says it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from eth_hash.auto import keccak

from tallystick.engine.errors import Refused
from tallystick.lifecycle.facts import Uploaded
from tallystick.lifecycle.task import Task
from tallystick.poco.contribution import result_hash
from tallystick.poco.params import parse_params
from tallystick.poco.signing import lenient_hex
from tallystick.poco.values import Digest, TaskId
from tallystick.storage.addresses import AddressRefused, require_public
from tallystick.wire.results import ResultsClient, parse_link


@dataclass(frozen=True, slots=True)
class Uploads:
    """Looks into the store that the deal names, else into the pool's. What goes to a contract
    of the requester's is in no store: it has to be what was voted for."""

    tasks: Mapping[str, Task]
    store: ResultsClient
    """The pool's."""

    async def has(self, task: TaskId, told: Uploaded) -> bool:
        """Whether the result of `task` is where a worker says. Raises Unavailable."""
        said, known = parse_link(told.link.encode()), self.tasks.get(str(task))
        if said is None:
            return False
        if known is not None and known.deal.has_callback:
            return known.consensus == result_hash(task, _digest(told.callback))
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


def _digest(callback: str) -> Digest:
    """What is voted for where a contract is called back."""
    return Digest(keccak(lenient_hex(callback)))
