"""Finding deals and tasks again, from what people remember of them."""

from __future__ import annotations

from dataclasses import dataclass

from tallystick.chain import contracts, logs
from tallystick.chain.abi import topic
from tallystick.chain.records import ChainTask
from tallystick.poco.deal import Deal
from tallystick.poco.values import Address, DealId, TaskId
from tallystick.requester.refusals import NoSuchThing
from tallystick.requester.session import Session

SPAN = 10_000
"""Blocks that are searched at once: public nodes refuse longer ranges."""


@dataclass(frozen=True, slots=True)
class Found:
    """A task of a deal. `on_chain` is None until it is initialized."""

    deal: Deal
    index: int
    on_chain: ChainTask | None

    @property
    def id(self) -> TaskId:
        """The task's id."""
        return self.deal.task_id(self.index)


async def find_deal(session: Session, deal: DealId) -> Deal:
    """Raises NoSuchThing."""
    found = await session.hub.deal(deal)
    if found is None:
        raise NoSuchThing(f"There is no deal {deal} on this chain.")
    return found


async def find_task(session: Session, task: TaskId) -> Found:
    """The task with its deal, also when nobody has initialized it. Raises NoSuchThing."""
    on_chain = await session.hub.task(task)
    if on_chain is not None:
        return Found(await find_deal(session, on_chain.deal), on_chain.index, on_chain)
    for notice in await matches(session):
        deal = await find_deal(session, notice.deal)
        for index in deal.indices:
            if deal.task_id(index) == task:
                return Found(deal, index, None)
    raise NoSuchThing(f"There is no task {task} on this chain.")


async def tasks_of(session: Session, deal: Deal) -> list[Found]:
    """Every task of `deal`, in order."""
    return [Found(deal, i, await session.hub.task(deal.task_id(i))) for i in deal.indices]


async def deals_of(session: Session, requester: Address) -> list[Deal]:
    """All deals that `requester` bought, newest first."""
    found = [await find_deal(session, notice.deal) for notice in await matches(session)]
    return [deal for deal in found if deal.requester == requester]


async def matches(session: Session) -> list[logs.OrdersMatched]:
    """Every match of orders that this chain has seen, newest first."""
    last = (await session.hub.head()).number
    found: list[logs.OrdersMatched] = []
    for start in range(0, last + 1, SPAN):
        question = {
            "address": str(session.place.hub),
            "topics": [str(topic(contracts.ORDERS_MATCHED))],
            "fromBlock": hex(start),
            "toBlock": hex(min(start + SPAN - 1, last)),
        }
        answers = map(logs.decode, await session.rpc.call("eth_getLogs", question))
        found += [log for log in answers if isinstance(log, logs.OrdersMatched)]
    return found[::-1]
