"""What a task's end moved for one account, by the hub's own account of it."""

from __future__ import annotations

from dataclasses import dataclass

from tallystick.chain import contracts, logs
from tallystick.chain.abi import topic
from tallystick.chain.hub import Hub
from tallystick.poco.values import Address, Instant, Nrlc, TaskId

_EVENTS = (contracts.REWARD, contracts.SEIZE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """A stake that is only given back is no payment."""

    reward: Nrlc = 0
    seized: Nrlc = 0
    """Stake that the account lost."""
    at: Instant = 0
    """The block's time; 0 when the node does not tell it with its logs."""


async def payment(hub: Hub, task: TaskId, account: Address, *, block_hash: str) -> Payment:
    """What the block in which `task` was finalized says of `account`. Raises Unavailable."""
    question = {
        "address": str(hub.address),
        "blockHash": block_hash,
        "topics": [[str(topic(event)) for event in _EVENTS]],
    }
    reward = seized = at = 0
    for raw in await hub.rpc.call("eth_getLogs", question):
        match logs.decode(raw):
            case logs.Reward(account=who, amount=amount, task=about, at=ref) if (
                who == account and about == task
            ):
                reward, at = reward + amount, ref.timestamp
            case logs.Seize(account=who, amount=amount, task=about, at=ref) if (
                who == account and about == task
            ):
                seized, at = seized + amount, ref.timestamp
            case _:
                continue
    return Payment(reward=reward, seized=seized, at=at)
