"""How long before a deadline of a deal something has to be begun. Pure."""

from __future__ import annotations

from tallystick.poco.deal import HEADROOM, Deal
from tallystick.poco.values import Instant


def headroom(deal: Deal) -> int:
    """Seconds before a deadline after which no call is begun: what mining may take, but never
    so long that a short category leaves no time at all."""
    return min(HEADROOM, deal.time_unit // 4)


def too_late(deal: Deal, now: Instant) -> bool:
    """Whether less is left for contributing than such a task usually may take: whoever began
    now would compute for nothing."""
    return now + headroom(deal) + deal.time_unit > deal.contribution_deadline


def waited_enough(deal: Deal, now: Instant) -> bool:
    """Whether a worker that waits for a second opinion has to vote now, to be in time."""
    return now + headroom(deal) + deal.time_unit // 2 >= deal.contribution_deadline


def last_call(deal: Deal, now: Instant) -> bool:
    """Whether a task that is to be finalized has to be so now."""
    return now + headroom(deal) + deal.time_unit >= deal.final_deadline
