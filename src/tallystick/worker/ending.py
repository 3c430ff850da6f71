"""The end of a worker: what can be handed back is, and what is owed is said."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio

from tallystick.worker.drain import owed, to_hand_back, unfinished
from tallystick.worker.reason import Reason

if TYPE_CHECKING:
    from tallystick.worker.parts import Parts

log = logging.getLogger(__name__)

FAREWELL = 5.0
"""Seconds for telling the scheduler what was handed back; else it is told at the next start."""
_STOPPED = Reason("STOPPED", "The worker was stopped before it had voted: handed back.")


async def part(parts: Parts) -> None:
    """Wait until the worker has to end, and take leave of the pool."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(parts.helm.obey_signals)
        me = parts.session.me
        await parts.helm.until_the_end(parts.engine.states.values(), me)
        parts.helm.stop()  # after a drain too: what arrives now is not taken up
        await _take_leave(parts)
        tasks.cancel_scope.cancel()


async def _take_leave(parts: Parts) -> None:
    _hand_back(parts)
    with anyio.move_on_after(FAREWELL) as patience:
        await parts.session.all_told()
        await parts.session.farewell()
    if patience.cancelled_caught:
        log.warning("The scheduler does not answer: it is told at the next start.")
    me = parts.session.me
    for task in unfinished(parts.engine.states.values(), me):
        log.warning("%s", owed(task, task.replicates[me]))


def _hand_back(parts: Parts) -> None:
    """A vote that is signed may be mined at any time, so its task is not given up."""
    session, signed = parts.session, parts.money.sender.waiting()
    for task in list(to_hand_back(parts.engine.states.values(), session.me)):
        if not any(call.is_about(task.id) for call in signed):
            session.hand_back(task, _STOPPED)
