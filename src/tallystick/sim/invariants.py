"""What must hold in every world at every second, and at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tallystick.lifecycle.agenda import UPLOAD_PERIOD, Initialize, may_reopen
from tallystick.lifecycle.audit import is_refuted, waits
from tallystick.lifecycle.facts import ConsensusReached
from tallystick.lifecycle.replicate import OVER, Status
from tallystick.lifecycle.task import Task, TaskStatus
from tallystick.poco.contribution import result_hash
from tallystick.poco.deal import Deal
from tallystick.poco.ledger import ChainStatus, ChainTask, Vote
from tallystick.poco.rewards import KITTY
from tallystick.poco.values import Address, DealId, Instant, TaskId
from tallystick.sim.agreement import Broken, differences, stakes_of
from tallystick.sim.blocks import Block
from tallystick.sim.books import misbooked, reread
from tallystick.sim.calls import Contribute, Finish
from tallystick.sim.chain import Refusal
from tallystick.sim.hearing import unheard
from tallystick.sim.odds import Character
from tallystick.sim.opinions import Opinions, is_sound
from tallystick.sim.parties import Party, Worker
from tallystick.sim.recruiting import Recruiting

if TYPE_CHECKING:
    from tallystick.sim.world import World

__all__ = ["Broken", "Invariants"]

_OPEN = (ChainStatus.ACTIVE, ChainStatus.REVEALING)


class Invariants:
    """Watches one world. `check` is called after every second, `check_end` after the last."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._refusals = 0
        self._consensus: dict[TaskId, list[Instant]] = {}
        """When each task reached one, on any branch."""
        self._mirrored: dict[tuple[str, TaskId], tuple[Task, int]] = {}
        self._version = 0
        self._ids: dict[DealId, list[TaskId]] = {}
        self._recruiting = Recruiting(world)
        self._opinions = Opinions(world)
        world.on_block = self._saw

    def check(self) -> None:
        """Raise Broken when the present second breaks a rule."""
        for complaint in self._complaints():
            raise Broken(complaint)

    def check_end(self) -> None:
        """The same for the end of the world, when everything must be settled."""
        self.check()
        for complaint in (*self._left_over(), *self._miscounted()):
            raise Broken(complaint)

    @property
    def settled(self) -> bool:
        """Whether nothing is left to be done."""
        return not self._world.chain.pool and not any(self._left_over())

    def _saw(self, block: Block) -> None:
        for task, fact in block.facts:
            if isinstance(fact, ConsensusReached):
                self._consensus.setdefault(task, []).append(self._world.now)

    def _complaints(self) -> Iterator[str]:
        yield from self._refused()
        if self._version != self._world.chain.version:
            self._version = self._world.chain.version
            yield from self._money()
            yield from misbooked(self._world.chain.ledger, self._world.plan)
        for party in self._world.parties:
            if party.up and party.is_at_head_of(self._world.chain.blocks):
                yield from self._disagreements(party)
        yield from self._missed_reveals()
        yield from self._wasted()
        yield from self._forgetful()
        yield from self._recruiting.complaints()
        yield from self._opinions.complaints()
        yield from unheard(self._world)

    def _miscounted(self) -> Iterator[str]:
        """Every consensus, and every score, is what the rules make of the votes."""
        chain = self._world.chain
        return reread(chain.blocks, chain.ledger, self._world.plan)

    def _refused(self) -> Iterator[str]:
        """Nobody pays gas for a call that the ledger must refuse, except in a race."""
        for what in self._world.pointless:
            yield f"{what}, although the chain shows that it cannot be"
        fresh = self._world.chain.refusals[self._refusals :]
        self._refusals += len(fresh)
        for refusal in fresh:
            if not (refusal.sent.call.attack or self._is_race(refusal)):
                yield f"{refusal.sent.call} was refused: {refusal.why}"
        for sent in self._world.chain.successes:
            if self._world.chain.torn < sent.at:
                yield f"{sent.call} was not refused"

    def _is_race(self, refusal: Refusal) -> bool:
        """Sent before the chain took blocks back, before others reached consensus, or before a
        stranger opened the task, as anybody may. A copycat that has seen another vote, after a
        reorg, copies that one too, beside its own that is on its way."""
        sent = refusal.sent
        if self._world.chain.torn >= sent.at:
            return True
        action = sent.call.action
        if isinstance(action, Initialize):
            return self._was_opened(action.task, sent.at)
        if not isinstance(action, Contribute | Finish):
            return False
        if isinstance(action, Contribute) and action.copied and "already" in refusal.why:
            return True
        reached = self._consensus.get(action.task, [])
        return any(when >= sent.at for when in reached)

    def _was_opened(self, task: TaskId, since: Instant) -> bool:
        """Whether a call of a stranger that opens it was mined since then."""
        chain = self._world.chain
        return any(
            sent.call.attack
            and isinstance(sent.call.action, Initialize)
            and sent.call.action.task == task
            for block, calls in zip(chain.blocks, chain.mined, strict=True)
            if block.time >= since
            for sent in calls
        )

    def _money(self) -> Iterator[str]:
        """What is locked is what open tasks need; nothing is lost or made."""
        ledger = self._world.chain.ledger
        escrow, due = ledger.escrow, self._due()
        for account in {*escrow.locked, *due} - {KITTY}:
            if escrow.stake(account) != due[account]:
                locked = escrow.stake(account)
                yield f"{account} has {locked} nRLC locked, open tasks need {due[account]}"
        if sum(escrow.balances.values()) != escrow.supply:
            yield "the balances do not add up to what was deposited"
        if escrow.balance(escrow.hub) != sum(escrow.locked.values()):
            yield "the hub does not hold what is locked"
        if min(escrow.balances.values()) < 0:
            yield "somebody's balance is negative"

    def _due(self) -> Counter[Address]:
        """What every account must have locked now, in nRLC."""
        ledger, due = self._world.chain.ledger, Counter[Address]()
        for deal in ledger.clerk.deals.values():
            for task_id in self._tasks(deal):
                task = ledger.tasks.get(task_id)
                if task is None or task.status in _OPEN:
                    due.update(stakes_of(deal, task))
        return due

    def _tasks(self, deal: Deal) -> list[TaskId]:
        if deal.id not in self._ids:
            self._ids[deal.id] = [deal.task_id(index) for index in deal.indices]
        return self._ids[deal.id]

    def _disagreements(self, party: Party) -> Iterator[str]:
        """Whoever has followed the chain to its head holds exactly what the chain holds."""
        for task in party.tasks:
            known, version = self._mirrored.get((party.name, task.id), (None, -1))
            if known is task and version == self._version:
                continue
            self._mirrored[party.name, task.id] = (task, self._version)
            chain = self._world.chain.ledger.tasks.get(task.id)
            for what in differences(task, chain):
                yield f"{party.name} has another {what} of {task.id} than the chain"
            if isinstance(party, Worker) and _is_idle(party, task, self._world.now):
                yield f"{party.name} does nothing about {task.id} and waits for nobody"
            if isinstance(party, Worker) and chain and not _can_reveal(party, task, chain):
                yield f"{party.name} has voted on {task.id} and cannot reveal"

    def _wasted(self) -> Iterator[str]:
        """A revealed result is finalized when its winner and the scheduler were there, and the
        pool does not know it to be wrong."""
        world = self._world
        for task in world.chain.ledger.tasks.values():
            if (
                task.status is not ChainStatus.REVEALING
                or world.now != task.deal.final_deadline
            ):
                continue
            for address in task.winners(Vote.PROVED):
                worker = world.workers[address]
                begun = max(task.reveal_deadline, worker.well_since, world.scheduler.well_since)
                late = max(begun, world.chain.torn) + 2 * UPLOAD_PERIOD >= world.now
                if not late and self._could_upload(worker, task.id):
                    yield f"the result of {worker.name} on {task.id} was wasted"

    def _could_upload(self, worker: Worker, task_id: TaskId) -> bool:
        task, there = worker.task(task_id), worker.up and self._world.scheduler.up
        failed = task is None or task.replicates[worker.address].status is Status.FAILED
        pools = self._world.scheduler.task(task_id)
        doubted = pools is None or (is_refuted(pools) and not self._is_sound(worker, pools))
        return there and not (doubted or failed) and not worker.silent

    def _is_sound(self, worker: Worker, task: Task) -> bool:
        """Whether the pool must not take its result for wrong."""
        world = self._world
        return is_sound(world.plan, worker.machine.character, world.nature(task))

    def _missed_reveals(self) -> Iterator[str]:
        """A winner that was up and following the chain has revealed in time."""
        world = self._world
        for task in world.chain.ledger.tasks.values():
            if (
                task.status is not ChainStatus.REVEALING
                or world.now != task.reveal_deadline + 1
            ):
                continue
            opened = task.reveal_deadline - task.deal.reveal_period
            for address in task.winners(Vote.CONTRIBUTED):
                worker = world.workers[address]
                ready = max(worker.well_since, opened)
                willing = worker.machine.character not in (Character.SHY, Character.COPYCAT)
                undisturbed = worker.up and willing and world.chain.torn < opened
                if undisturbed and ready + 14 < task.reveal_deadline - 10:
                    yield f"{worker.name} was there and did not reveal {task.id}"

    def _forgetful(self) -> Iterator[str]:
        """Whoever restarts knows what it knew before the crash."""
        for party in self._world.parties:
            for task_id in party.misremembered:
                yield f"{party.name} knows another {task_id} after a restart"

    def _left_over(self) -> Iterator[str]:
        world, ledger = self._world, self._world.chain.ledger
        for deal in ledger.clerk.deals.values():
            for task_id in self._tasks(deal):
                chain = ledger.tasks.get(task_id)
                if chain is None or chain.status in _OPEN:
                    yield f"{task_id} has not ended"
        for party in world.parties:
            if party.gone:
                continue
            if not party.is_at_head_of(world.chain.blocks):
                yield f"{party.name} has not followed the chain"
            for task in party.tasks:
                yield from self._unfinished(party, task)

    def _should_know(self, party: Party, whose: Worker) -> bool:
        """Whether the scheduler must have heard how a replicate ended. After a restore it may
        be told the end of something that it never began."""
        scheduler = self._world.scheduler
        return party is scheduler and scheduler.instance == 1 and not whose.silent

    def _unfinished(self, party: Party, task: Task) -> Iterator[str]:
        if not task.status.over:
            yield f"{party.name} still waits for {task.id}"
        for replicate in task.replicates.values():
            whose = self._world.workers[replicate.worker]
            told = party is whose or self._should_know(party, whose)
            if told and not whose.gone and replicate.status not in OVER:
                what = f"a replicate of {whose.name} that never ends: {replicate}"
                yield f"{party.name} has {what}"


def _is_idle(worker: Worker, task: Task, now: Instant) -> bool:
    """Whether a replicate is neither over, nor due, nor waiting for others."""
    mine = worker.mine(task)
    if mine is None or mine.status in OVER or worker.owed(task, now):
        return False
    voted = mine.status in (Status.CONTRIBUTED, Status.REVEALED, Status.UPLOADED)
    others = (
        voted or (waits(mine) and task.status is TaskStatus.ACTIVE) or may_reopen(task, now)
    )
    return task.status.over or not (others or task.status is TaskStatus.UNSET)


def _can_reveal(worker: Worker, task: Task, chain: ChainTask) -> bool:
    """The digest of a vote is in the journal of whoever voted."""
    vote, mine = chain.contributions.get(worker.address), worker.mine(task)
    if vote is None or worker.machine.character is Character.COPYCAT:
        return True
    digest = mine.digest if mine else None
    return digest is not None and result_hash(task.id, digest) == vote.hash
