"""Taking the money of a task back that was not finished in time."""

from __future__ import annotations

from tallystick.chain.records import TaskState
from tallystick.chain.wallet import Wallet
from tallystick.engine.errors import Refused
from tallystick.poco.deal import Deal
from tallystick.poco.values import Nrlc
from tallystick.requester.session import Session
from tallystick.requester.transact import transact


class NotClaimable(Refused):
    """The task has ended, or still has time."""


async def claim(session: Session, wallet: Wallet, deal: Deal, index: int) -> Nrlc:
    """Have task `index` of `deal` declared failed; returns what goes back to the requester.

    Also for a task that nobody initialized. Raises NotClaimable, Refused, Unavailable.
    """
    task = deal.task_id(index)
    found = await session.hub.task(task)
    if found is not None and found.state in (TaskState.COMPLETED, TaskState.FAILED):
        raise NotClaimable(f"The task {task} is {found.state.name} already: nothing to claim.")
    wait = deal.final_deadline - (await session.hub.head()).timestamp
    if wait > 0:
        raise NotClaimable(
            f"The task {task} may still be finished: it can be claimed in {wait} seconds."
        )
    calls = session.hub.calls
    if found is None:
        call = calls.initialize_and_claim_array([deal.id], [index])
    else:
        call = calls.claim(task)
    await transact(session, wallet, call)
    return deal.task_price
