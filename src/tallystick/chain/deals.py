"""What deals a workerpool made lately, by the chain's logs."""

from __future__ import annotations

from typing import Final

from tallystick.chain import contracts
from tallystick.chain.abi import topic
from tallystick.chain.hub import Hub
from tallystick.chain.logs import SchedulerNotice, decode
from tallystick.poco.deal import Deal
from tallystick.poco.values import Address

LATELY: Final = 5_000
"""Blocks that are searched: public nodes refuse to search many more at once."""


async def latest_deal(hub: Hub, pool: Address, *, within: int = LATELY) -> Deal | None:
    """The newest deal of `pool` within so many blocks; None when there is none.

    Raises Unavailable.
    """
    head = (await hub.head()).number
    question = {
        "address": str(hub.address),
        "fromBlock": hex(max(0, head - within)),
        "toBlock": hex(head),
        "topics": [str(topic(contracts.SCHEDULER_NOTICE)), f"0x{bytes(pool).hex():0>64}"],
    }
    found = await hub.rpc.call("eth_getLogs", question)
    notices = (decode(raw) for raw in reversed(found))
    newest = next((each for each in notices if isinstance(each, SchedulerNotice)), None)
    return None if newest is None else await hub.deal(newest.deal)
