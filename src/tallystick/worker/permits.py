"""Whether the contract would take a scheduler's permission to contribute: else it is worth no
work."""

from __future__ import annotations

from tallystick.poco.deal import Deal
from tallystick.poco.values import ZERO_ADDRESS, Address
from tallystick.wire.authorization import UNSIGNED, WorkerpoolAuthorization


def mistake(
    permission: WorkerpoolAuthorization,
    deal: Deal,
    *,
    me: Address,
    pool: Address | None,
    unsigned: bool = False,
) -> str:
    """What is wrong with it, in a sentence; empty when nothing is. `pool` is the only one that
    this worker works for, if there is one; `unsigned`: the signature may come later."""
    what = f"The authorization for {permission.chain_task_id}"
    index, first = permission.task_index, deal.bot_first
    if permission.worker_wallet != me:
        return f"{what} is for {permission.worker_wallet}, not for us."
    ours = first <= index < first + deal.bot_size
    if not ours or deal.task_id(index) != permission.chain_task_id:
        return f"{what} names a task that is not of deal {deal.id}."
    if pool not in (None, deal.workerpool.pointer):
        return f"{what} is of pool {deal.workerpool.pointer}, not ours."
    if permission.enclave_challenge != ZERO_ADDRESS:
        return f"{what} is for an enclave, and this worker has none."
    if unsigned and permission.signature.value == UNSIGNED:
        return ""
    if permission.signed_by() != deal.workerpool.owner:
        return f"{what} is not signed by {deal.workerpool.owner}."
    return ""
