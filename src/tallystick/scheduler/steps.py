"""What each of the scheduler's commands does to the world: look, then act."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from tallystick.chain.batches import Batches
from tallystick.chain.calls import Call
from tallystick.chain.hub import Hub
from tallystick.chain.records import TaskState
from tallystick.chain.sender import Sender
from tallystick.engine.clock import ChainClock
from tallystick.engine.errors import Refused
from tallystick.lifecycle.agenda import (
    UPLOAD_PERIOD,
    Claim,
    ClaimUnopened,
    Finalize,
    Initialize,
    PoolCommand,
    Reopen,
    RequestUpload,
)
from tallystick.lifecycle.audit import Authorize, Conclude
from tallystick.lifecycle.facts import Audited, Fact, UploadRequested
from tallystick.poco.signing import lenient_hex

_OnChain = Initialize | Finalize | Reopen | Claim | ClaimUnopened


def nobody(command: Authorize) -> Fact | None:
    """Where nobody audits, nobody is authorized later."""
    return None


class PoolSteps:
    """The scheduler's hands. Calls return nothing: the chain tells what came of them."""

    def __init__(self, hub: Hub, sender: Sender, clock: ChainClock) -> None:
        self._hub, self._sender, self._clock = hub, sender, clock
        self._batches = Batches(hub.calls, sender)
        self.authorize: Callable[[Authorize], Fact | None] = nobody
        """Signs what a worker may vote with."""

    async def perform(self, command: PoolCommand) -> Fact | None:
        """Do `command`; what somebody else has done meanwhile is done."""
        match command:
            case RequestUpload(worker=worker):
                return UploadRequested(worker, self._clock.now() + UPLOAD_PERIOD)
            case Conclude(worker=worker, agreed=agreed, owner=owner, counts=counts):
                return Audited(worker, agreed, owner, counts or not agreed)
            case Authorize():
                return self.authorize(command)
            case _:
                await self._call_chain(command)
                return None

    async def _call_chain(self, command: _OnChain) -> None:
        try:
            await self._with_others(command)
        except Refused:
            # Trying a call is a look at the chain: it refuses what is done already.
            self._hub.rpc.doubt()
            if await self._is_wanted(command):
                await self._alone(command)

    async def _with_others(self, command: _OnChain) -> None:
        """In one transaction with what is due for other tasks, where the contracts can."""
        match command:
            case Initialize(deal=deal, index=index):
                await self._batches.initialize(deal, index)
            case Claim(task=task):
                await self._batches.claim(task)
            case ClaimUnopened(deal=deal, index=index):
                await self._batches.initialize_and_claim(deal, index)
            case Finalize() | Reopen():
                await self._sender.send(self._call(command))
            case _:
                assert_never(command)

    async def _alone(self, command: _OnChain) -> None:
        """What another task of its transaction may have spoilt."""
        try:
            await self._sender.send(self._call(command))
        except Refused:
            self._hub.rpc.doubt()
            if await self._is_wanted(command):
                raise

    def _call(self, command: _OnChain) -> Call:
        calls = self._hub.calls
        match command:
            case Initialize(deal=deal, index=index):
                return calls.initialize(deal, index)
            case Finalize(task=task, link=link, callback=told):
                return calls.finalize(task, link.encode(), lenient_hex(told))
            case Reopen(task=task):
                return calls.reopen(task)
            case Claim(task=task):
                return calls.claim(task)
            case ClaimUnopened(deal=deal, index=index):
                return calls.initialize_and_claim_array([deal], [index])
            case _:
                assert_never(command)

    async def _is_wanted(self, command: _OnChain) -> bool:
        known = await self._hub.task(command.task)
        state = TaskState.UNSET if known is None else known.state
        return state in _WANTED[type(command)]


_WANTED: dict[type[_OnChain], tuple[TaskState, ...]] = {
    Initialize: (TaskState.UNSET,),
    Finalize: (TaskState.REVEALING,),
    Reopen: (TaskState.REVEALING,),
    Claim: (TaskState.ACTIVE, TaskState.REVEALING),
    ClaimUnopened: (TaskState.UNSET,),
}
"""In which states of a task a command about it is still of use."""
