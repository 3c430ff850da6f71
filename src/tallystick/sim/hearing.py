"""What a scheduler takes from its workers: each word about the step that is under way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tallystick.lifecycle.facts import Began
from tallystick.lifecycle.replicate import STARTS_FROM
from tallystick.poco.values import TaskId
from tallystick.sim.parties import Worker

if TYPE_CHECKING:
    from tallystick.sim.world import World


def unheard(world: World) -> Iterator[str]:
    """Steps that a worker has begun and told, and that its scheduler does not know of, though
    both know all of the chain."""
    scheduler, blocks = world.scheduler, world.chain.blocks
    first = scheduler.instance == 1
    if world.odds.loss or not (first and scheduler.up and scheduler.is_at_head_of(blocks)):
        return
    for address in world.asked:
        worker = world.workers[address]
        if not worker.silent and worker.is_at_head_of(blocks):
            yield from _refused(world, worker)


def _refused(world: World, worker: Worker) -> Iterator[str]:
    """What is in its outbox after a talk was not taken. That is in order when the scheduler has
    noted meanwhile what rules the step out, such as that it is overdue."""
    for entry in worker.outbox:
        task = worker.task(TaskId(entry.stream))
        mine = worker.mine(task) if task else None
        if not (isinstance(entry.fact, Began) and mine and mine.doing is entry.fact.step):
            continue
        there = world.scheduler.task(TaskId(entry.stream))
        known = there.replicates.get(worker.address) if there else None
        if known is not None and known.status in STARTS_FROM[entry.fact.step]:
            yield f"{worker.name} has begun to {mine.doing} {entry.stream} and is not heard"
