"""Votes that no worker casts."""

from __future__ import annotations

from market_lab import Lab, wallet_of

from tallystick.poco.contribution import authorization_hash, result_hash, result_seal
from tallystick.poco.values import Digest, TaskId
from tallystick.requester.transact import transact

OTHER = Digest(b"\x66" * 32)


async def vote(lab: Lab, name: str, task: TaskId) -> None:
    """That wallet votes for something else: the scheduler's owner allows it, by its own key."""
    wallet, owner = wallet_of(lab.market, name), wallet_of(lab.market, "scheduler")
    call = lab.session.hub.calls.contribute(
        task,
        result_hash(task, OTHER),
        result_seal(wallet.address, task, OTHER),
        authorization=owner.sign_message(authorization_hash(wallet.address, task)),
    )
    await transact(lab.session, wallet, call)
