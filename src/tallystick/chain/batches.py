"""Many tasks in one transaction: each is opened 28 % cheaper, and they share a nonce.

What becomes due at the same moment goes out together. Whoever waits for a batch may leave it at
any time. After a crash the batches that were signed are found in the sender's book: a task is
never in two transactions at once, since the later one would be refused as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias

import anyio
from anyio.lowlevel import checkpoint

from tallystick.chain import contracts
from tallystick.chain.abi import decode, parameters, selector
from tallystick.chain.call import Call
from tallystick.chain.calls import Calls
from tallystick.engine.errors import Refused, Unavailable
from tallystick.poco.values import DealId, TaskId

MOST: Final = 20
"""Tasks in one transaction: to open 20 takes 3.5 million gas, for which any block has room."""

_ROUNDS: Final = 3
"""Turns of the event loop without a newcomer after which a batch leaves."""

Opening: TypeAlias = tuple[DealId, int]
"""A task that was never initialized: its deal and its index."""


class Sends(Protocol):
    """What a batch needs of a sender."""

    async def send(self, call: Call) -> Any:
        """Send `call` and wait until it is mined."""
        ...

    def waiting(self) -> tuple[Call, ...]:
        """Calls that are signed and not mined."""
        ...


@dataclass(slots=True, eq=False)
class _Batch:
    members: list[Any] = field(default_factory=list)
    closed: anyio.Event = field(default_factory=anyio.Event)
    """Once nobody can join any more."""
    turn: anyio.Lock = field(default_factory=anyio.Lock)
    over: bool = False
    trouble: Refused | Unavailable | None = None


class Batches:
    """Sends calls about several tasks; each caller waits for its own only.

    Every method returns once the transaction that its task is part of was mined. It raises
    `Refused` when that was refused as a whole: one of its tasks may have been done already, so
    each has to be looked at by itself; and `Unavailable` when nothing was written down.
    """

    def __init__(self, calls: Calls, sender: Sends, most: int = MOST) -> None:
        self._calls, self._sender, self._most = calls, sender, most
        self._open: dict[str, _Batch] = {}
        self._left_over: dict[Any, Call] | None = None

    async def initialize(self, deal: DealId, index: int) -> None:
        """Open a task."""
        await self._join(contracts.INITIALIZE_ARRAY, (deal, index))

    async def initialize_and_claim(self, deal: DealId, index: int) -> None:
        """End a task that was never opened."""
        await self._join(contracts.INITIALIZE_AND_CLAIM_ARRAY, (deal, index))

    async def claim(self, task: TaskId) -> None:
        """End a task that came to nothing."""
        await self._join(contracts.CLAIM_ARRAY, task)

    async def _join(self, kind: str, member: Any) -> None:
        if (before := self._signed_before(kind, member)) is not None:
            await self._sender.send(before)
            return
        batch = self._open.get(kind)
        if batch is None:
            batch = self._open[kind] = _Batch()
        batch.members.append(member)
        if len(batch.members) == self._most:
            self._close(kind, batch)
        try:
            if len(batch.members) == 1:
                await self._gather(kind, batch)
            await batch.closed.wait()
        except anyio.get_cancelled_exc_class():
            batch.members.remove(member)
            raise
        await self._ride(kind, batch)

    def _signed_before(self, kind: str, member: Any) -> Call | None:
        """The transaction of an earlier run that is about it and may still be mined."""
        waiting = self._sender.waiting() if self._left_over != {} else ()
        if self._left_over is None:
            self._left_over = {key: call for call in waiting for key in _about(call)}
        call = self._left_over.get((kind, member))
        return call if call in waiting else None

    async def _gather(self, kind: str, batch: _Batch) -> None:
        """Wait for others for as long as they come without a pause."""
        seen = idle = 0
        try:
            while idle < _ROUNDS and not batch.closed.is_set():
                idle = idle + 1 if len(batch.members) == seen else 0
                seen = len(batch.members)
                await checkpoint()
        finally:  # also when the first one leaves
            self._close(kind, batch)

    def _close(self, kind: str, batch: _Batch) -> None:
        batch.closed.set()
        if self._open.get(kind) is batch:
            del self._open[kind]

    async def _ride(self, kind: str, batch: _Batch) -> None:
        async with batch.turn:  # whoever has it sends; when it leaves, the next one does
            if not batch.over:
                await self._send(self._call(kind, batch.members), batch)
        if batch.trouble is not None:
            raise batch.trouble

    async def _send(self, call: Call, batch: _Batch) -> None:
        try:
            await self._sender.send(call)
        except (Refused, Unavailable) as trouble:
            batch.trouble = trouble
        batch.over = True

    def _call(self, kind: str, members: Sequence[Any]) -> Call:
        if kind == contracts.CLAIM_ARRAY:
            alone = len(members) == 1
            return self._calls.claim(members[0]) if alone else self._calls.claim_array(members)
        deals, indices = [deal for deal, _ in members], [index for _, index in members]
        if kind == contracts.INITIALIZE_AND_CLAIM_ARRAY:
            return self._calls.initialize_and_claim_array(deals, indices)
        if len(members) == 1:
            return self._calls.initialize(deals[0], indices[0])
        return self._calls.initialize_array(deals, indices)


def _about(call: Call) -> Iterable[tuple[str, Any]]:
    """The kind and the members of a batch; nothing when `call` is no batch."""
    for kind in _KINDS:
        if call.data[:4] == selector(kind):
            first, *rest = decode(parameters(kind), call.data[4:])
            if not rest:
                return [(kind, TaskId(task)) for task in first]
            return [(kind, (DealId(d), int(i))) for d, i in zip(first, rest[0], strict=True)]
    return ()


_KINDS = (
    contracts.INITIALIZE_ARRAY,
    contracts.INITIALIZE_AND_CLAIM_ARRAY,
    contracts.CLAIM_ARRAY,
)
