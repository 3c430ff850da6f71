"""Gas that a replicate will still take: what is in the wallet may be promised already."""

from __future__ import annotations

from tallystick.chain.fees import CONTRIBUTE_GAS, FINISH_GAS, REVEAL_GAS
from tallystick.lifecycle.replicate import BEFORE_VOTE, Replicate, Status
from tallystick.poco.values import Hash

_CHECKED = (Status.CHECKED, Status.PUBLISHED, Status.CONTRIBUTED)


def vote_gas(*, alone: bool) -> int:
    """What a vote and its proof take, which are one transaction where it is `alone`."""
    return FINISH_GAS if alone else CONTRIBUTE_GAS + REVEAL_GAS


def gas_due(mine: Replicate | None, consensus: Hash | None) -> int:
    """What a replicate of an open task takes from now on, if it is the one that wins."""
    if mine is None:
        return 0
    if mine.status in BEFORE_VOTE:
        return vote_gas(alone=mine.alone)
    lost = consensus is not None and mine.vote != consensus
    return REVEAL_GAS if mine.status is Status.CONTRIBUTED and not lost else 0


def is_ahead(mine: Replicate | None) -> bool:
    """Whether its vote is out, or about to be: what it takes is not there for others."""
    return mine is not None and mine.status in _CHECKED
