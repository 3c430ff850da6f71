"""Deals that are made for a pool: every task of theirs is born here."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from anyio.lowlevel import checkpoint

from tallystick.chain.follow import Births
from tallystick.chain.hub import Hub
from tallystick.chain.logs import SchedulerNotice
from tallystick.chain.queries import read_head
from tallystick.engine.errors import Unavailable
from tallystick.engine.journal import ChainRef
from tallystick.lifecycle.facts import Ordered
from tallystick.poco.values import Address, DealId

log = logging.getLogger(__name__)

LARGEST_BAG: Final = 10_000
"""Tasks of one deal that are taken up. A deal may claim 2**53 of them, at no cost where the
price is zero; the requester gets its money back for what is left."""

PATIENCE: Final = 60.0
"""Seconds for which a deal that no node has, though its notice stands, holds up all news."""

Record = Callable[[str, Ordered, ChainRef], object]
"""Accepts the birth of a task; what is known already, or is not ours, changes nothing."""


def births(hub: Hub, workerpool: Address, record: Record) -> Births:
    """What to do about the notice of a deal: `record` each of its tasks, when it is for
    `workerpool`. Raises Unavailable while a node tells the notice of a deal and not the deal:
    whoever missed it would lose the pool's stake."""
    missed: dict[DealId, float] = {}

    async def take(notice: SchedulerNotice) -> None:
        if notice.workerpool != workerpool:
            return
        if (deal := await hub.deal(notice.deal)) is None:
            since = missed.setdefault(notice.deal, time.monotonic())
            if not await _stands(hub, notice):
                return
            if time.monotonic() - since < PATIENCE:
                raise Unavailable(
                    f"The node tells of deal {notice.deal}, but does not have it."
                )
            log.error("%s is left out: no node has it, though its notice stands.", notice.deal)
            return
        missed.pop(notice.deal, None)
        at = notice.at
        ref = ChainRef(at.block, str(at.block_hash), at.index, str(at.transaction))
        if deal.bot_size > LARGEST_BAG:
            log.error(
                "%s has %d tasks; the first %d are taken", deal.id, deal.bot_size, LARGEST_BAG
            )
        for index in deal.indices[:LARGEST_BAG]:
            record(str(deal.task_id(index)), Ordered(deal, index), ref)
            await checkpoint()  # workers are answered meanwhile

    return take


async def _stands(hub: Hub, notice: SchedulerNotice) -> bool:
    """Whether the block of a notice is still in the chain."""
    known = await hub.rpc.call("eth_getBlockByNumber", hex(notice.at.block), False)
    return known is not None and read_head(known).hash == notice.at.block_hash
