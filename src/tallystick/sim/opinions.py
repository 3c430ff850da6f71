"""What a pool that audits may do: whom it lets vote, whom it finds wrong, what it pays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from tallystick.lifecycle.agenda import Finalize
from tallystick.lifecycle.facts import Audit, Audited, Authorized, Fact
from tallystick.lifecycle.margins import headroom
from tallystick.lifecycle.replicate import Replicate, Status
from tallystick.lifecycle.task import Task, TaskStatus
from tallystick.poco.contribution import result_hash
from tallystick.poco.values import Address, Hash, Instant, TaskId
from tallystick.sim.agreement import said
from tallystick.sim.odds import Character, Machine, Nature, Plan

if TYPE_CHECKING:
    from tallystick.sim.world import World

OPINIONS = 2
"""Second opinions after which nobody else is asked, though nothing is decided."""
LET_VOTE = 30
"""Seconds in which the scheduler gives an authorization."""
WAITING = (Status.COMPUTED, Status.CHECKED, Status.PUBLISHED)
GONE = (Status.FAILED, Status.ABORTED)
_TOGETHER = (Character.CONSPIRATOR, Character.COPYCAT)
"""Who may say the same wrong thing as somebody else."""
_HONEST = (
    *(Character.HONEST, Character.SILENT, Character.SHY),
    *(Character.DAWDLER, Character.CROOK),
)


class Verdicts:
    """Whether each thing that a scheduler decides about second opinions is in order."""

    def __init__(
        self,
        plan: Plan,
        who: Callable[[Address], tuple[str, Machine]],
        nature: Callable[[Task], Nature],
    ) -> None:
        """`who`: a worker's name, and its machine."""
        self._who, self._nature = who, nature
        self._found: dict[tuple[TaskId, Address], bool] = {}
        self._plot = sum(m.character in _TOGETHER for m in plan.machines) > 1

    def forget(self) -> None:
        """The scheduler was set back: what it knew is told again."""
        self._found = {}

    def of(self, task: Task, fact: Fact, now: Instant) -> Iterator[str]:
        """What is wrong with what was just decided."""
        match fact:
            case Authorized(worker=worker):
                yield from self._allowed(task, task.replicates[worker], now)
            case Audited(worker=worker, agreed=agreed, counts=counts):
                yield from self._judged(task, task.replicates[worker], agreed, counts)
            case _:
                return

    def of_payment(self, task: Task) -> Iterator[str]:
        """What is known to be wrong is not finalized. That somebody voted for something else
        than it had handed in says nothing against those who stand by it."""
        stand = [r for r in task.winners if not breaks_word(task, r)]
        for who in stand or task.winners:
            if who.agreed is False or not stand:
                yield f"{self._name(who)} was found wrong on {task.id}, and is to be paid"

    def _allowed(self, task: Task, who: Replicate, now: Instant) -> Iterator[str]:
        """Who is to be compared votes after that, or when there is no time for it."""
        name, terms, trusted = self._name(who), who.scrutiny, _trusted(task)
        if terms is None or (terms.audit is Audit.NO and not terms.audits):
            return
        if who.agreed is False:
            yield f"{name} was found wrong on {task.id}, and may vote"
        elif trusted is not None and who.digest and said(task, who) != trusted:
            yield f"{name} says otherwise than an auditor on {task.id}, and may vote"
        elif terms.audit is not Audit.NO and who.agreed is None:
            deal = task.deal
            urgent = now + headroom(deal) + deal.time_unit // 2
            if urgent < deal.contribution_deadline and _given(task) < OPINIONS:
                yield f"{name} may vote on {task.id} before anybody has compared its result"

    def _judged(self, task: Task, who: Replicate, agreed: bool, counts: bool) -> Iterator[str]:
        """A result is judged once; an honest one is not found wrong, and only who did not
        know that somebody would look gains anything by it."""
        key = (task.id, who.worker)
        name, before = self._name(who), self._found.get(key)
        self._found[key] = agreed
        if before is not None and before <= agreed:
            yield f"{name} was judged twice for {task.id}"
        if agreed and counts and who.scrutiny and who.scrutiny.audit is Audit.NO:
            yield f"{name} is believed more for a second opinion on {task.id}"
        sound = self._nature(task) is not Nature.ERRATIC and not self._plot
        character = self._who(who.worker)[1].character
        if not agreed and sound and character in _HONEST:
            yield f"{name} is honest and was found wrong on {task.id}"
        if agreed and sound and character is Character.LIAR:
            yield f"{name} lies and was found right on {task.id}"

    def _name(self, who: Replicate) -> str:
        return self._who(who.worker)[0]


class Opinions:
    """Watches what the scheduler of a world makes of second opinions."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._read = 0
        self._seen: object = None
        self._verdicts = Verdicts(world.plan, self._who, world.nature)
        self._held_up: Counter[TaskId] = Counter()
        """For how many seconds a right result waits, and nobody who has it may vote."""
        self._unsaid: Counter[tuple[TaskId, Address]] = Counter()
        """For how many seconds nobody notes that a worker broke its word."""

    def complaints(self) -> Iterator[str]:
        """What is wrong with what was decided in this second."""
        world = self._world
        if not world.plan.audit:
            return
        memory = world.scheduler.memory
        if memory is not self._seen:  # a restore: what it knew is told again
            self._seen, self._read = memory, len(memory.entries)
            self._verdicts.forget()
        fresh = memory.entries[self._read :]
        self._read = len(memory.entries)
        for entry in fresh:
            if task := world.scheduler.task(TaskId(entry.stream)):
                yield from self._verdicts.of(task, entry.fact, world.now)
        yield from self._held()
        yield from self._unnoticed()
        for sent in world.chain.pool:
            action, honest = sent.call.action, not sent.call.attack
            if honest and isinstance(action, Finalize) and sent.at == world.now:
                task = world.scheduler.task(action.task)
                yield from self._verdicts.of_payment(task) if task else ()

    def _held(self) -> Iterator[str]:
        """Somebody whose result was found right is let vote."""
        world, before = self._world, self._held_up
        self._held_up = Counter()
        if not (world.scheduler.up and world.scheduler.is_at_head_of(world.chain.blocks)):
            return
        for task in world.scheduler.tasks:
            ready = set(held_up(task, world.now))
            if ready:
                self._held_up[task.id] = before[task.id] + bool(ready & world.asked)
            if self._held_up[task.id] > LET_VOTE:
                yield f"somebody is right on {task.id}, and nobody may vote"

    def _unnoticed(self) -> Iterator[str]:
        """Who votes otherwise than it handed in is found out while its task goes on."""
        world, before = self._world, self._unsaid
        self._unsaid = Counter()
        if not (world.scheduler.up and world.scheduler.is_at_head_of(world.chain.blocks)):
            return
        going = [task for task in world.scheduler.tasks if not task.status.over]
        for task, who in ((t, who) for t in going for who in t.replicates.values()):
            if not breaks_word(task, who) or who.agreed is False:
                continue
            key = (task.id, who.worker)
            self._unsaid[key] = before[key] + 1
            if self._unsaid[key] > LET_VOTE:
                yield f"{self._who(who.worker)[0]} broke its word on {task.id} unseen"

    def _who(self, worker: Address) -> tuple[str, Machine]:
        known = self._world.workers[worker]
        return known.name, known.machine


def held_up(task: Task, now: Instant) -> Iterator[Address]:
    """Who is known to be right and waits, while nobody may vote for the same."""
    until = task.deal.contribution_deadline - headroom(task.deal)
    if task.status is not TaskStatus.ACTIVE or now >= until:
        return
    replicates = task.replicates.values()
    going = {said(task, r) for r in replicates if r.authorization and r.status not in GONE}
    for each in replicates:
        right = each.agreed or (each.scrutiny is not None and each.scrutiny.trusted)
        waits = right and not each.authorization and each.status in WAITING
        if waits and each.digest and said(task, each) not in going:
            yield each.worker


def breaks_word(task: Task, who: Replicate) -> bool:
    """Whether a worker votes for something else than it handed in."""
    first = who.scrutiny is not None and who.scrutiny.digest_first
    said_first = result_hash(task.id, who.digest) if first and who.digest else None
    return None not in (said_first, who.vote) and said_first != who.vote


def is_sound(plan: Plan, character: Character, nature: Nature) -> bool:
    """Whether what such a worker computes is right, and nobody can outdo it by a plot."""
    plot = sum(m.character in _TOGETHER for m in plan.machines) > 1
    return character in _HONEST and nature is not Nature.ERRATIC and not plot


def _trusted(task: Task) -> Hash | None:
    """What a machine of the operator's own says."""
    own = (r for r in task.replicates.values() if r.scrutiny and r.scrutiny.trusted)
    return next((claim for r in own if (claim := said(task, r))), None)


def _given(task: Task) -> int:
    second = (r for r in task.replicates.values() if r.scrutiny and r.scrutiny.audits)
    return sum(said(task, r) is not None for r in second)
