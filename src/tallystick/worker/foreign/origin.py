"""From which block on the chain is read about a deal of which only the time is known."""

from __future__ import annotations

from tallystick.chain.hub import Hub
from tallystick.chain.queries import read_head
from tallystick.engine.errors import Unavailable
from tallystick.poco.values import Instant

_FIRST_STEP = 64


async def block_before(hub: Hub, when: Instant) -> int:
    """A block that is not later than `when`; at most twice as far back as the latest such.

    Raises Unavailable.
    """
    head, back = await hub.head(), _FIRST_STEP
    while back < head.number:
        number = head.number - back
        told = await hub.rpc.call("eth_getBlockByNumber", hex(number), False)
        if told is None:
            raise Unavailable(f"The node does not know block {number}.")
        if read_head(told).timestamp < when:
            return number
        back *= 2
    return 0
