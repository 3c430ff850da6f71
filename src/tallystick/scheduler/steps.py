"""What each of the scheduler's commands does to the world: look, then act."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

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
from tallystick.lifecycle.facts import Fact, UploadRequested
from tallystick.poco.values import TaskId

_OnChain = Initialize | Finalize | Reopen | Claim | ClaimUnopened


@dataclass(frozen=True, slots=True)
class PoolSteps:
    """The scheduler's hands. Calls return nothing: the chain tells what came of them."""

    hub: Hub
    sender: Sender
    clock: ChainClock

    async def perform(self, command: PoolCommand) -> Fact | None:
        """Do `command`; what somebody else has done meanwhile is done."""
        if isinstance(command, RequestUpload):
            return UploadRequested(command.worker, self.clock.now() + UPLOAD_PERIOD)
        wanted, call = self._call(command)
        try:
            await self.sender.send(call)
        except Refused:
            # Trying a call is a look at the chain: it refuses what is done already.
            if await self._state(command.task) in wanted:
                raise
        return None

    def _call(self, command: _OnChain) -> tuple[tuple[TaskState, ...], Call]:
        """In which states of the task the call is still wanted, and the call."""
        calls = self.hub.calls
        match command:
            case Initialize(deal=deal, index=index):
                return (TaskState.UNSET,), calls.initialize(deal, index)
            case Finalize(task=task, link=link):
                return (TaskState.REVEALING,), calls.finalize(task, link.encode())
            case Reopen(task=task):
                return (TaskState.REVEALING,), calls.reopen(task)
            case Claim(task=task):
                return (TaskState.ACTIVE, TaskState.REVEALING), calls.claim(task)
            case ClaimUnopened(deal=deal, index=index):
                return (TaskState.UNSET,), calls.initialize_and_claim_array([deal], [index])
            case _:
                assert_never(command)

    async def _state(self, task: TaskId) -> TaskState:
        known = await self.hub.task(task)
        return TaskState.UNSET if known is None else known.state
