"""Who earned and who paid by the end of a task, by the chain's own account of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from tallystick.chain import contracts, logs
from tallystick.chain.abi import topic
from tallystick.poco.values import Address, Nrlc, TaskId
from tallystick.requester.session import Session

_EVENTS = (contracts.REWARD, contracts.SEIZE, contracts.TASK_FINALIZE, contracts.TASK_CLAIMED)


@dataclass(frozen=True, slots=True)
class Settlement:
    """What the end of a task moved."""

    block: int | None
    """Where the task was finalized or claimed; None while it was not."""
    gains: Mapping[Address, Nrlc]
    """Of each account, below zero where it paid or lost its stake. A stake that is only given
    back is no gain."""


async def settlement(session: Session, task: TaskId, *, since: int) -> Settlement:
    """How `task` was paid for. `since`: a block that is not after its end."""
    question = {
        "address": str(session.place.hub),
        "fromBlock": hex(since),
        "toBlock": "latest",
        "topics": [[str(topic(event)) for event in _EVENTS]],
    }
    block: int | None = None
    gains: Counter[Address] = Counter()
    for raw in await session.rpc.call("eth_getLogs", question):
        match logs.decode(raw):
            case logs.Reward(account=account, amount=amount, task=about) if about == task:
                gains[account] += amount
            case logs.Seize(account=account, amount=amount, task=about) if about == task:
                gains[account] -= amount
            case logs.TaskFinalize(task=about, at=at) | logs.TaskClaimed(task=about, at=at) if (
                about == task
            ):
                block = at.block
            case _:
                continue
    return Settlement(block, gains)
