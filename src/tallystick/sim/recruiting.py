"""What makes a task end in a result: people are asked while it lacks them, and they vote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Final

from tallystick.lifecycle.facts import Audit
from tallystick.lifecycle.margins import headroom
from tallystick.lifecycle.replicate import BEFORE_VOTE, OVER
from tallystick.lifecycle.task import Task
from tallystick.poco.ledger import ChainStatus, ChainTask
from tallystick.poco.values import Address, Instant, TaskId
from tallystick.sim.agreement import carries, said
from tallystick.sim.audits import Terms
from tallystick.sim.odds import Character
from tallystick.sim.parties import SILENCE, Worker

if TYPE_CHECKING:
    from tallystick.sim.world import World

VOTES_WITHIN: Final = 120
"""Seconds in which an undisturbed machine has done all of its steps and voted: seven steps of
at most eight seconds, each looked at again within a few, and a call in the mempool."""


class Recruiting:
    """Watches whom the scheduler of a world asks. A restart of it begins everything anew."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._life = (0, 0)
        self._lacking: set[TaskId] = set()
        self._in_vain: Counter[tuple[TaskId, Address]] = Counter()
        """How often a worker asked for work, got none of a task that lacked people, and could
        take on more."""
        self._given: dict[tuple[TaskId, Address], Instant] = {}
        self._terms = Terms(world.plan)

    def complaints(self) -> Iterator[str]:
        """What is wrong at the end of this second."""
        world, scheduler = self._world, self._world.scheduler
        life = (scheduler.life, world.chain.torn)
        if life != self._life or not scheduler.up:
            self._life = life
            self._lacking.clear()
            self._in_vain.clear()
            self._given.clear()
        if scheduler.up and scheduler.is_at_head_of(world.chain.blocks):
            yield from self._unasked()
            yield from self._unmoved()
        else:
            self._lacking.clear()

    def _unasked(self) -> Iterator[str]:
        """Nobody may ask for work again and again while a task lacks people."""
        tasks = self._world.scheduler.tasks
        lacking = {task.id for task in tasks if self._lacks(task)}
        idle = [who for who in self._world.asked if self._has_room(who, tasks)]
        for task in tasks:
            if task.id not in lacking or task.id not in self._lacking:
                continue
            for who in idle:
                if who in task.replicates or not self._terms.suits(task, who):
                    continue
                self._in_vain[task.id, who] += 1
                # Every time it might have been given another one instead.
                if self._in_vain[task.id, who] > len(tasks) + 5:
                    name = self._world.workers[who].name
                    yield f"{task.id} lacks people, and {name} asks for work in vain"
        self._in_vain = Counter({k: n for k, n in self._in_vain.items() if k[0] in lacking})
        self._lacking = lacking

    def _lacks(self, task: Task) -> bool:
        """Whether all who may still vote could not settle the task if they were of one mind."""
        deal, now = task.deal, self._world.now
        chain = self._world.chain.ledger.tasks.get(task.id)
        late = now + headroom(deal) + deal.time_unit + 1 >= deal.contribution_deadline
        if chain is None or chain.status is not ChainStatus.ACTIVE or late:
            return False
        coming = [
            r.weight
            for r in task.replicates.values()
            if r.status in BEFORE_VOTE and self._may_come(task.id, r.worker)
        ]
        return not coming or not _could_settle(chain, prod(coming)) or _is_unchecked(task)

    def _may_come(self, task: TaskId, who: Address) -> bool:
        """Whether the scheduler has to wait for a worker that it has given a task."""
        if self._world.workers[who].silent:
            return True
        since = self._given.setdefault((task, who), self._world.now)
        heard = max(self._world.met.get(who, 0), self._world.scheduler.well_since, since)
        return self._world.now - heard <= SILENCE + 2

    def _has_room(self, who: Address, tasks: list[Task]) -> bool:
        mine = [task.replicates[who] for task in tasks if who in task.replicates]
        slots = self._world.workers[who].machine.slots
        return sum(r.status in BEFORE_VOTE for r in mine) < slots

    def _unmoved(self) -> Iterator[str]:
        """Whoever was given a task and was not hindered has voted."""
        world = self._world
        odds, calm = world.plan.odds, world.now - VOTES_WITHIN
        if odds.loss or odds.flake or world.plan.audit or world.chain.torn >= calm:
            return
        for task in world.scheduler.tasks:
            chain = world.chain.ledger.tasks.get(task.id)
            open_ = world.now + headroom(task.deal) < task.deal.contribution_deadline
            if chain is None or chain.status is not ChainStatus.ACTIVE or not open_:
                continue
            for who in task.replicates.keys() - chain.contributions.keys():
                since = self._given.setdefault((task.id, who), world.now)
                if since < calm and self._undisturbed(task, world.workers[who], calm):
                    yield f"{world.workers[who].name} has {task.id} and does not vote"

    def _undisturbed(self, task: Task, worker: Worker, calm: Instant) -> bool:
        known = worker.task(task.id)
        mine = worker.mine(known) if known else None
        willing = worker.machine.character is Character.HONEST
        there = worker.up and max(worker.well_since, self._world.scheduler.well_since) < calm
        return there and willing and (mine is None or mine.status not in OVER)


def _is_unchecked(task: Task) -> bool:
    """Whether a result is to be compared, and nobody was ever asked for another one."""
    watched = [(r, r.scrutiny) for r in task.replicates.values() if r.scrutiny]
    doubted = any(t.audit is not Audit.NO and r.digest and r.agreed is None for r, t in watched)
    claims = [(claim, t) for r, t in watched if (claim := said(task, r))]
    settled = any(t.trusted for _, t in claims) or len({c for c, _ in claims}) < len(claims)
    return doubted and not settled and not any(t.audits for _, t in watched)


def _could_settle(chain: ChainTask, power: int) -> bool:
    """Whether workers of this power together could make one of the results win."""
    groups = list(chain.tally.groups.values()) or [1]
    leader = max(groups)
    others = [*groups]
    others.remove(leader)
    best = leader * power
    return carries([*others, best], best, chain.deal.trust)
